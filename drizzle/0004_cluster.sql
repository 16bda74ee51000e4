CREATE TABLE `carried` (
	`origin` text NOT NULL,
	`stream` text NOT NULL,
	`seq` integer NOT NULL,
	`kind` text NOT NULL,
	`hlc` text NOT NULL,
	`payload` text NOT NULL,
	PRIMARY KEY(`origin`, `stream`, `seq`)
);
--> statement-breakpoint
CREATE TABLE `parked` (
	`target` text NOT NULL,
	`origin` text NOT NULL,
	`stream` text NOT NULL,
	`seq` integer NOT NULL,
	PRIMARY KEY(`target`, `origin`, `stream`, `seq`)
);
--> statement-breakpoint
CREATE TABLE `registers` (
	`key` text PRIMARY KEY NOT NULL,
	`stamp` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `seen` (
	`id` integer PRIMARY KEY NOT NULL,
	`vector` text NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `seen_vector` ON `seen` (`vector`);--> statement-breakpoint
DROP INDEX `operators_name`;--> statement-breakpoint
CREATE INDEX `operators_name` ON `operators` (`name`);--> statement-breakpoint
ALTER TABLE `revocations` ADD `origin` text;--> statement-breakpoint
ALTER TABLE `revocations` ADD `seq` integer;--> statement-breakpoint
ALTER TABLE `revocations` ADD `peers` text;--> statement-breakpoint
ALTER TABLE `revocations` ADD `completed_at` integer;--> statement-breakpoint
CREATE INDEX `revocations_open` ON `revocations` (`id`) WHERE "completed_at" IS NULL AND "origin" IS NOT NULL;--> statement-breakpoint
ALTER TABLE `tokens` ADD `seen` integer;--> statement-breakpoint
-- A hundred thousand come in a row. Who replaces one deletes it, which facts_no_delete refuses on every connection of ours.
DROP TRIGGER facts_no_replace;
--> statement-breakpoint
-- A cluster is founded by saying everything anew: only then, and in the same transaction as this mark, facts go.
DROP TRIGGER facts_no_delete;
--> statement-breakpoint
CREATE TRIGGER facts_no_delete BEFORE DELETE ON facts
WHEN NOT EXISTS (SELECT 1 FROM meta WHERE key = 'cluster.founding')
BEGIN SELECT RAISE(ABORT, 'facts are immutable'); END;
--> statement-breakpoint
-- Who died of a revocation that was made before there was a cluster is told behind it: the list grows, and loses nobody.
DROP TRIGGER revocations_no_update;
--> statement-breakpoint
CREATE TRIGGER revocations_no_update BEFORE UPDATE OF id, at, actor, reason, note, selector ON revocations
BEGIN SELECT RAISE(ABORT, 'revocations are immutable'); END;
--> statement-breakpoint
CREATE TRIGGER revocations_only_grow BEFORE UPDATE OF tokens ON revocations
WHEN substr(NEW.tokens, 1, length(OLD.tokens) - 1) <> substr(OLD.tokens, 1, length(OLD.tokens) - 1)
BEGIN SELECT RAISE(ABORT, 'revocations are immutable'); END;
