/** RFC 5424, as MCP's logging counts: what is said at a level is said at those after it too. */
export const LEVELS = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency']
