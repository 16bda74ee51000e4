-- Rows of the audit log and facts can't be changed; a revoked token can't come back, whoever asks.
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit rows are immutable'); END;
--> statement-breakpoint
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit rows are immutable'); END;
--> statement-breakpoint
CREATE TRIGGER facts_no_update BEFORE UPDATE ON facts BEGIN SELECT RAISE(ABORT, 'facts are immutable'); END;
--> statement-breakpoint
CREATE TRIGGER facts_no_delete BEFORE DELETE ON facts BEGIN SELECT RAISE(ABORT, 'facts are immutable'); END;
--> statement-breakpoint
CREATE TRIGGER tokens_stay_revoked BEFORE UPDATE OF revoked_at ON tokens
WHEN OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS NOT OLD.revoked_at
BEGIN SELECT RAISE(ABORT, 'a revoked token stays revoked'); END;
--> statement-breakpoint
CREATE TRIGGER secrets_die_once BEFORE UPDATE OF dies_at ON secrets
WHEN OLD.dies_at IS NOT NULL AND (NEW.dies_at IS NULL OR NEW.dies_at > OLD.dies_at)
BEGIN SELECT RAISE(ABORT, 'a secret dies no later than it was to'); END;
--> statement-breakpoint
CREATE TRIGGER revocations_no_update BEFORE UPDATE OF id, at, actor, reason, note, selector, tokens ON revocations
BEGIN SELECT RAISE(ABORT, 'revocations are immutable'); END;
--> statement-breakpoint
CREATE TRIGGER revocations_no_delete BEFORE DELETE ON revocations BEGIN SELECT RAISE(ABORT, 'revocations are immutable'); END;
--> statement-breakpoint
-- INSERT OR REPLACE deletes without asking the triggers for DELETE.
CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit WHEN EXISTS (SELECT 1 FROM audit WHERE sequence = NEW.sequence)
BEGIN SELECT RAISE(ABORT, 'audit rows are immutable'); END;
--> statement-breakpoint
CREATE TRIGGER facts_no_replace BEFORE INSERT ON facts
WHEN EXISTS (SELECT 1 FROM facts WHERE origin = NEW.origin AND stream = NEW.stream AND seq = NEW.seq)
BEGIN SELECT RAISE(ABORT, 'facts are immutable'); END;
--> statement-breakpoint
CREATE TRIGGER tokens_no_replace BEFORE INSERT ON tokens WHEN EXISTS (SELECT 1 FROM tokens WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'tokens are kept'); END;
--> statement-breakpoint
CREATE TRIGGER secrets_no_replace BEFORE INSERT ON secrets WHEN EXISTS (SELECT 1 FROM secrets WHERE digest = NEW.digest)
BEGIN SELECT RAISE(ABORT, 'secrets are kept'); END;
--> statement-breakpoint
CREATE TRIGGER secrets_no_delete BEFORE DELETE ON secrets BEGIN SELECT RAISE(ABORT, 'secrets are kept'); END;
--> statement-breakpoint
CREATE TRIGGER revocations_no_replace BEFORE INSERT ON revocations WHEN EXISTS (SELECT 1 FROM revocations WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'revocations are immutable'); END;
--> statement-breakpoint
CREATE TRIGGER tokens_no_delete BEFORE DELETE ON tokens BEGIN SELECT RAISE(ABORT, 'tokens are kept'); END;
