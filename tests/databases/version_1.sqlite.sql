BEGIN TRANSACTION;
CREATE TABLE archspec_epochs (
	evaluation VARCHAR(36) NOT NULL, 
	epoch INTEGER NOT NULL, 
	train_loss FLOAT, 
	val_loss FLOAT, 
	val_accuracy FLOAT, 
	lr FLOAT, 
	seconds FLOAT, 
	CONSTRAINT pk_archspec_epochs PRIMARY KEY (evaluation, epoch), 
	CONSTRAINT fk_archspec_epochs_evaluation FOREIGN KEY(evaluation) REFERENCES archspec_evaluations (uuid)
);
INSERT INTO "archspec_epochs" VALUES('bf45ae45-ed2e-4c4a-8667-666a4aff0e7b',1,1.0,1.1,0.25,0.001,2.0);
INSERT INTO "archspec_epochs" VALUES('14aa8f70-753e-4c9e-a096-a401f25285ee',1,1.0,1.1,0.125,0.001,2.0);
INSERT INTO "archspec_epochs" VALUES('ec6d97e7-80e6-49da-980b-d515bb932afd',1,1.0,1.1,0.375,0.001,2.0);
CREATE TABLE archspec_evaluations (
	uuid VARCHAR(36) NOT NULL, 
	digest VARCHAR(80) NOT NULL, 
	protocol VARCHAR(80) NOT NULL, 
	seed BIGINT NOT NULL, 
	spec TEXT NOT NULL, 
	cost JSON NOT NULL, 
	state VARCHAR(20) NOT NULL, 
	cause VARCHAR(20), 
	message TEXT NOT NULL, 
	measured JSON NOT NULL, 
	started DATETIME NOT NULL, 
	finished DATETIME, 
	seconds FLOAT, 
	starts INTEGER NOT NULL, 
	checkpoint TEXT, 
	environment JSON NOT NULL, 
	CONSTRAINT pk_archspec_evaluations PRIMARY KEY (uuid), 
	CONSTRAINT uq_archspec_evaluations_digest_protocol_seed UNIQUE (digest, protocol, seed)
);
INSERT INTO "archspec_evaluations" VALUES('bf45ae45-ed2e-4c4a-8667-666a4aff0e7b','digest-0','protocol-1',0,'name: x
','{"params": 28288354, "macs": 4490566272, "activation_bytes_train": 30000000000}','complete','ok','','{"accuracy": 0.5}','2026-11-21 11:18:48.224877','2026-11-21 11:18:48.234764',3.0,1,'runs/0.pt','{"torch": "2.15"}');
INSERT INTO "archspec_evaluations" VALUES('14aa8f70-753e-4c9e-a096-a401f25285ee','digest-1','protocol-1',0,'name: x
','{"params": 28288354, "macs": 4490566272, "activation_bytes_train": 30000000000}','failed','diverged','at step 3','{}','2026-11-21 11:18:48.238224','2026-11-21 11:18:48.242070',NULL,1,NULL,'{"torch": "2.15"}');
INSERT INTO "archspec_evaluations" VALUES('ec6d97e7-80e6-49da-980b-d515bb932afd','digest-2','protocol-1',0,'name: x
','{"params": 28288354, "macs": 4490566272, "activation_bytes_train": 30000000000}','running',NULL,'','{}','2026-11-21 11:18:48.244094',NULL,NULL,1,NULL,'{"torch": "2.15"}');
CREATE TABLE archspec_events (
	uuid VARCHAR(36) NOT NULL, 
	study VARCHAR(200) NOT NULL, 
	kind VARCHAR(40) NOT NULL, 
	trial INTEGER, 
	detail JSON NOT NULL, 
	at DATETIME NOT NULL, 
	CONSTRAINT pk_archspec_events PRIMARY KEY (uuid), 
	CONSTRAINT fk_archspec_events_study FOREIGN KEY(study) REFERENCES archspec_studies (name)
);
INSERT INTO "archspec_events" VALUES('43431d83-a3f3-4fb7-8077-9b40fe301aef','first','duplicate',1,'{}','2026-11-21 11:18:48.247300');
CREATE TABLE archspec_schema (
	version INTEGER NOT NULL, 
	CONSTRAINT pk_archspec_schema PRIMARY KEY (version)
);
INSERT INTO "archspec_schema" VALUES(1);
CREATE TABLE archspec_studies (
	name VARCHAR(200) NOT NULL, 
	space TEXT NOT NULL, 
	study TEXT NOT NULL, 
	space_digest VARCHAR(80) NOT NULL, 
	seed BIGINT NOT NULL, 
	objectives JSON NOT NULL, 
	sampler JSON NOT NULL, 
	trials INTEGER, 
	data JSON NOT NULL, 
	recipe JSON NOT NULL, 
	axes JSON NOT NULL, 
	archspec_version VARCHAR(80) NOT NULL, 
	environment JSON NOT NULL, 
	created DATETIME NOT NULL, 
	CONSTRAINT pk_archspec_studies PRIMARY KEY (name)
);
INSERT INTO "archspec_studies" VALUES('first','stages: {choose: [window, sliding]}','trials: 12','space-1',1099511627777,'[{"name": "accuracy", "direction": "maximise"}, {"name": "params", "direction": "minimise"}]','{"name": "tpe", "multivariate": true}',12,'{"name": "fractal", "seed": 0}','{"epochs": 3}','{"space": "connectivity"}','0.1.0','{"python": "3.11"}','2026-11-21 08:00:00.000000');
CREATE TABLE archspec_trials (
	uuid VARCHAR(36) NOT NULL, 
	study VARCHAR(200) NOT NULL, 
	number INTEGER, 
	reference VARCHAR(200), 
	evaluation VARCHAR(36) NOT NULL, 
	owns BOOLEAN NOT NULL, 
	params JSON NOT NULL, 
	asked DATETIME NOT NULL, 
	CONSTRAINT pk_archspec_trials PRIMARY KEY (uuid), 
	CONSTRAINT uq_archspec_trials_study_number UNIQUE (study, number), 
	CONSTRAINT uq_archspec_trials_study_reference UNIQUE (study, reference), 
	CONSTRAINT ck_archspec_trials_number_or_reference CHECK ((number IS NULL) <> (reference IS NULL)), 
	CONSTRAINT fk_archspec_trials_study FOREIGN KEY(study) REFERENCES archspec_studies (name), 
	CONSTRAINT fk_archspec_trials_evaluation FOREIGN KEY(evaluation) REFERENCES archspec_evaluations (uuid)
);
INSERT INTO "archspec_trials" VALUES('06673869-c7ad-41f4-abde-5e15cb0b6af4','first',0,NULL,'bf45ae45-ed2e-4c4a-8667-666a4aff0e7b',1,'{"space": "window", "width": 96, "bias": true, "kernel": null}','2026-11-21 11:18:48.224877');
INSERT INTO "archspec_trials" VALUES('c10f248b-5e22-4c07-8ed4-c06f2c1ecd9a','first',1,NULL,'14aa8f70-753e-4c9e-a096-a401f25285ee',1,'{"space": "window", "width": 96, "bias": true, "kernel": null}','2026-11-21 11:18:48.238224');
INSERT INTO "archspec_trials" VALUES('258372d7-73cc-4504-b7c1-00a807b62224','first',2,NULL,'ec6d97e7-80e6-49da-980b-d515bb932afd',1,'{"space": "window", "width": 96, "bias": true, "kernel": null}','2026-11-21 11:18:48.244094');
CREATE INDEX ix_archspec_trials_evaluation ON archspec_trials (evaluation);
CREATE INDEX ix_archspec_events_study ON archspec_events (study);
COMMIT;
