CREATE TABLE `api_keys` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`role` text NOT NULL,
	`digest` text NOT NULL,
	`key_id` text NOT NULL,
	`created_at` integer NOT NULL,
	`created_by` text NOT NULL,
	`expires_at` integer,
	`revoked_at` integer
);
--> statement-breakpoint
CREATE TABLE `audit` (
	`sequence` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`at` integer NOT NULL,
	`node` text NOT NULL,
	`actor` text NOT NULL,
	`action` text NOT NULL,
	`target_id` text,
	`target_name` text,
	`reason` text,
	`details` text NOT NULL,
	`previous_hash` text NOT NULL,
	`hash` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `evidence` (
	`token_id` text NOT NULL,
	`address` text NOT NULL,
	`count` integer NOT NULL,
	`first_at` integer NOT NULL,
	`last_at` integer NOT NULL,
	PRIMARY KEY(`token_id`, `address`)
);
--> statement-breakpoint
CREATE TABLE `facts` (
	`origin` text NOT NULL,
	`stream` text NOT NULL,
	`seq` integer NOT NULL,
	`kind` text NOT NULL,
	`hlc` text NOT NULL,
	`payload` text NOT NULL,
	PRIMARY KEY(`origin`, `stream`, `seq`)
);
--> statement-breakpoint
CREATE TABLE `idempotency` (
	`actor` text NOT NULL,
	`key` text NOT NULL,
	`request` text NOT NULL,
	`status` integer NOT NULL,
	`response` text NOT NULL,
	`location` text,
	`at` integer NOT NULL,
	PRIMARY KEY(`actor`, `key`)
);
--> statement-breakpoint
CREATE TABLE `meta` (
	`key` text PRIMARY KEY NOT NULL,
	`value` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `operators` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`role` text NOT NULL,
	`created_at` integer NOT NULL,
	`last_sign_in_at` integer,
	`password_hash` text
);
--> statement-breakpoint
CREATE UNIQUE INDEX `operators_name` ON `operators` (`name`);--> statement-breakpoint
CREATE TABLE `revocations` (
	`id` text PRIMARY KEY NOT NULL,
	`at` integer NOT NULL,
	`actor` text NOT NULL,
	`reason` text NOT NULL,
	`note` text NOT NULL,
	`selector` text NOT NULL,
	`tokens` text NOT NULL,
	`cut` integer DEFAULT 0 NOT NULL,
	`timings` text
);
--> statement-breakpoint
CREATE TABLE `secrets` (
	`digest` text PRIMARY KEY NOT NULL,
	`key_id` text NOT NULL,
	`token_id` text NOT NULL,
	`created_at` integer NOT NULL,
	`dies_at` integer
);
--> statement-breakpoint
CREATE INDEX `secrets_token` ON `secrets` (`token_id`);--> statement-breakpoint
CREATE TABLE `servers` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`url` text NOT NULL,
	`kind` text NOT NULL,
	`path` text NOT NULL,
	`headers` text NOT NULL,
	`state` text NOT NULL,
	`reason` text,
	`created_at` integer NOT NULL,
	`removed_at` integer
);
--> statement-breakpoint
CREATE TABLE `token_servers` (
	`token_id` text NOT NULL,
	`server_id` text NOT NULL,
	PRIMARY KEY(`token_id`, `server_id`)
);
--> statement-breakpoint
CREATE TABLE `tokens` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`subject` text,
	`group_name` text,
	`created_at` integer NOT NULL,
	`created_by` text NOT NULL,
	`expires_at` integer,
	`revoked_at` integer,
	`revocation_id` text
);
--> statement-breakpoint
CREATE TABLE `usage_minutes` (
	`token_id` text NOT NULL,
	`minute` integer NOT NULL,
	`requests` integer NOT NULL,
	`refusals` integer NOT NULL,
	`bytes_in` integer NOT NULL,
	`bytes_out` integer NOT NULL,
	`client` text,
	PRIMARY KEY(`token_id`, `minute`)
);
--> statement-breakpoint
CREATE INDEX `usage_minute` ON `usage_minutes` (`minute`);--> statement-breakpoint
CREATE TABLE `usage_totals` (
	`token_id` text PRIMARY KEY NOT NULL,
	`last_used_at` integer,
	`requests` integer NOT NULL,
	`refusals` integer NOT NULL,
	`bytes_in` integer NOT NULL,
	`bytes_out` integer NOT NULL,
	`client` text
);
