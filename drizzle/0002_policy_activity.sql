CREATE TABLE `activity` (
	`token_id` text NOT NULL,
	`minute` integer NOT NULL,
	`server_id` text NOT NULL,
	`method` text NOT NULL,
	`name` text NOT NULL,
	`address` text NOT NULL,
	`client` text NOT NULL,
	`calls` integer NOT NULL,
	`errors` integer NOT NULL,
	`refused` integer NOT NULL,
	`argument_bytes` integer NOT NULL,
	`first_at` integer NOT NULL,
	`last_at` integer NOT NULL,
	PRIMARY KEY(`token_id`, `minute`, `server_id`, `method`, `name`, `address`, `client`)
);
--> statement-breakpoint
CREATE INDEX `activity_minute` ON `activity` (`minute`);--> statement-breakpoint
ALTER TABLE `tokens` ADD `policy` text;