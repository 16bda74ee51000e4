ALTER TABLE `servers` ADD `stdio` text;--> statement-breakpoint
ALTER TABLE `servers` ADD `env` text;