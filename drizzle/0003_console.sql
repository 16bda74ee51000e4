CREATE TABLE `revocation_connections` (
	`revocation_id` text NOT NULL,
	`n` integer NOT NULL,
	`token_id` text NOT NULL,
	`server_id` text NOT NULL,
	`kind` text NOT NULL,
	`client` text,
	`address` text NOT NULL,
	`started_at` integer NOT NULL,
	`ended_at` integer NOT NULL,
	`bytes_in` integer NOT NULL,
	`bytes_out` integer NOT NULL,
	PRIMARY KEY(`revocation_id`, `n`)
);
--> statement-breakpoint
CREATE INDEX `audit_actor` ON `audit` (`actor`,`action`);--> statement-breakpoint
CREATE INDEX `audit_action` ON `audit` (`action`);--> statement-breakpoint
CREATE INDEX `audit_target` ON `audit` (`target_id`,`action`);--> statement-breakpoint
CREATE INDEX `audit_target_name` ON `audit` (`target_name`);--> statement-breakpoint
CREATE INDEX `audit_time` ON `audit` (("sequence" / 4096),`at`);