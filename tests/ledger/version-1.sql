BEGIN TRANSACTION;
CREATE TABLE allocations(id TEXT PRIMARY KEY, launch TEXT NOT NULL, native TEXT NOT NULL, state INTEGER NOT NULL,
    story TEXT NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO "allocations" VALUES('L1-1','L1','m1',1,'{"id": "L1-1", "launch": "L1", "state": 1, "native": "m1", "offer": "", "term": 3600.0, "price": "1.5", "until": null, "started": null, "ended": null, "used": null, "reason": "", "crashed": false}');
CREATE TABLE attempts(n INTEGER, attempt INTEGER, outcome INTEGER NOT NULL, started INTEGER NOT NULL,
    took INTEGER NOT NULL, form INTEGER NOT NULL, value BLOB, PRIMARY KEY(n, attempt)) STRICT, WITHOUT ROWID;
CREATE TABLE done(n INTEGER PRIMARY KEY, state INTEGER NOT NULL, attempt INTEGER NOT NULL, outcome INTEGER NOT NULL,
    started INTEGER NOT NULL, took INTEGER NOT NULL, form INTEGER NOT NULL, value BLOB) STRICT;
INSERT INTO "done" VALUES(1,3,1,0,1000000,500000,1,X'31');
CREATE TABLE events(seq INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, about TEXT NOT NULL,
    detail TEXT NOT NULL) STRICT;
INSERT INTO "events" VALUES(1,1000.0,'machine','L1-1','{"state": "planned", "native": "", "reason": ""}');
INSERT INTO "events" VALUES(2,1000.0,'machine','L1-1','{"state": "pending", "native": "m1", "reason": ""}');
CREATE TABLE held(n INTEGER PRIMARY KEY, attempt INTEGER NOT NULL, agent TEXT NOT NULL) STRICT;
INSERT INTO "held" VALUES(2,1,'m1');
CREATE TABLE job(key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
INSERT INTO "job" VALUES('counts','{"total": 3, "ready": 1, "handed_out": 1, "waiting": 0, "succeeded": 1, "failed": 0, "cancelled": 0, "complete": true, "retries": 0, "asks": 0, "interrupts": 0, "refused": 0}');
INSERT INTO "job" VALUES('frontier',2);
INSERT INTO "job" VALUES('spec','{"id": "job-1", "name": "fit", "entry": {"kind": "function", "target": "a:b", "command": [], "name": ""}, "created": "2026-01-01T00:00:00+00:00", "place": "local", "backend": "", "settings": {}, "channel": "", "slots": 1, "python": "", "cwd": "", "path": [], "env": {}, "secrets": {}, "retry": {"retries": 0, "timeouts": null, "memory": null, "losses": 3, "asks": 10, "exit_codes": null, "delay": {"seconds": 1.0}, "factor": 2.0, "max_delay": {"seconds": 300.0}}, "timeout": null, "grace": {"seconds": 5.0}, "resources": {"cpus": 1, "memory": null, "gpus": 0, "gpu_type": "", "disk": null}, "isolate": false, "max_failures": null, "priority": 0, "recycle_tasks": 100000, "recycle_memory": 1073741824, "exact": false, "seed_door": false, "worker": {}, "keep": {"seconds": 2592000.0}, "command_line": []}');
INSERT INTO "job" VALUES('special',0);
CREATE TABLE open(n INTEGER PRIMARY KEY, state INTEGER NOT NULL, attempt INTEGER NOT NULL, priority INTEGER NOT NULL,
    due REAL, tally TEXT, carry TEXT, holder TEXT) STRICT;
CREATE TABLE output(n INTEGER, attempt INTEGER, agent TEXT NOT NULL, slot INTEGER NOT NULL, roll INTEGER NOT NULL,
    out_from INTEGER NOT NULL, out_to INTEGER NOT NULL, err_from INTEGER NOT NULL, err_to INTEGER NOT NULL,
    PRIMARY KEY(n, attempt)) STRICT, WITHOUT ROWID;
CREATE TABLE tasks(n INTEGER PRIMARY KEY, id TEXT NOT NULL, body BLOB NOT NULL, options BLOB) STRICT;
INSERT INTO "tasks" VALUES(1,'t1',X'7B7D',NULL);
INSERT INTO "tasks" VALUES(2,'t2',X'7B7D',NULL);
INSERT INTO "tasks" VALUES(3,'t3',X'7B7D',NULL);
CREATE INDEX open_by_state ON open(state, priority DESC, n);
CREATE INDEX allocations_by_native ON allocations(native);
CREATE UNIQUE INDEX tasks_by_id ON tasks(id);
PRAGMA user_version=1;
COMMIT;
