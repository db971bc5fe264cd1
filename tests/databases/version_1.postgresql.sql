CREATE TABLE archspec_epochs (
    evaluation character varying(36) NOT NULL,
    epoch integer NOT NULL,
    train_loss double precision,
    val_loss double precision,
    val_accuracy double precision,
    lr double precision,
    seconds double precision
);
CREATE TABLE archspec_evaluations (
    uuid character varying(36) NOT NULL,
    digest character varying(80) NOT NULL,
    protocol character varying(80) NOT NULL,
    seed bigint NOT NULL,
    spec text NOT NULL,
    cost jsonb NOT NULL,
    state character varying(20) NOT NULL,
    cause character varying(20),
    message text NOT NULL,
    measured jsonb NOT NULL,
    started timestamp with time zone NOT NULL,
    finished timestamp with time zone,
    seconds double precision,
    starts integer NOT NULL,
    checkpoint text,
    environment jsonb NOT NULL
);
CREATE TABLE archspec_events (
    uuid character varying(36) NOT NULL,
    study character varying(200) NOT NULL,
    kind character varying(40) NOT NULL,
    trial integer,
    detail jsonb NOT NULL,
    at timestamp with time zone NOT NULL
);
CREATE TABLE archspec_schema (
    version integer NOT NULL
);
CREATE TABLE archspec_studies (
    name character varying(200) NOT NULL,
    space text NOT NULL,
    study text NOT NULL,
    space_digest character varying(80) NOT NULL,
    seed bigint NOT NULL,
    objectives jsonb NOT NULL,
    sampler jsonb NOT NULL,
    trials integer,
    data jsonb NOT NULL,
    recipe jsonb NOT NULL,
    axes jsonb NOT NULL,
    archspec_version character varying(80) NOT NULL,
    environment jsonb NOT NULL,
    created timestamp with time zone NOT NULL
);
CREATE TABLE archspec_trials (
    uuid character varying(36) NOT NULL,
    study character varying(200) NOT NULL,
    number integer,
    reference character varying(200),
    evaluation character varying(36) NOT NULL,
    owns boolean NOT NULL,
    params jsonb NOT NULL,
    asked timestamp with time zone NOT NULL,
    CONSTRAINT ck_archspec_trials_number_or_reference CHECK (((number IS NULL) <> (reference IS NULL)))
);
INSERT INTO archspec_epochs VALUES ('763fa6ce-9405-4979-90bc-f4af8f9b206c', 1, 1, 1.1, 0.25, 0.001, 2);
INSERT INTO archspec_epochs VALUES ('f0486fad-dab5-48dc-82b5-d153b45e726c', 1, 1, 1.1, 0.125, 0.001, 2);
INSERT INTO archspec_epochs VALUES ('78cd149a-efea-4c05-8ea5-45309ce63375', 1, 1, 1.1, 0.375, 0.001, 2);
INSERT INTO archspec_evaluations VALUES ('763fa6ce-9405-4979-90bc-f4af8f9b206c', 'digest-0', 'protocol-1', 0, 'name: x
', '{"macs": 4490566272, "params": 28288354, "activation_bytes_train": 30000000000}', 'complete', 'ok', '', '{"accuracy": 0.5}', '2026-11-21 11:18:48.499606+00', '2026-11-21 11:18:48.513132+00', 3, 1, 'runs/0.pt', '{"torch": "2.15"}');
INSERT INTO archspec_evaluations VALUES ('f0486fad-dab5-48dc-82b5-d153b45e726c', 'digest-1', 'protocol-1', 0, 'name: x
', '{"macs": 4490566272, "params": 28288354, "activation_bytes_train": 30000000000}', 'failed', 'diverged', 'at step 3', '{}', '2026-11-21 11:18:48.518197+00', '2026-11-21 11:18:48.524336+00', NULL, 1, NULL, '{"torch": "2.15"}');
INSERT INTO archspec_evaluations VALUES ('78cd149a-efea-4c05-8ea5-45309ce63375', 'digest-2', 'protocol-1', 0, 'name: x
', '{"macs": 4490566272, "params": 28288354, "activation_bytes_train": 30000000000}', 'running', NULL, '', '{}', '2026-11-21 11:18:48.52809+00', NULL, NULL, 1, NULL, '{"torch": "2.15"}');
INSERT INTO archspec_events VALUES ('e8268378-eacc-4a51-bc80-91e9f4901de9', 'first', 'duplicate', 1, '{}', '2026-11-21 11:18:48.533799+00');
INSERT INTO archspec_schema VALUES (1);
INSERT INTO archspec_studies VALUES ('first', 'stages: {choose: [window, sliding]}', 'trials: 12', 'space-1', 1099511627777, '[{"name": "accuracy", "direction": "maximise"}, {"name": "params", "direction": "minimise"}]', '{"name": "tpe", "multivariate": true}', 12, '{"name": "fractal", "seed": 0}', '{"epochs": 3}', '{"space": "connectivity"}', '0.1.0', '{"python": "3.11"}', '2026-11-21 08:00:00+00');
INSERT INTO archspec_trials VALUES ('fabb0a11-9dd9-4941-8990-d85c222495d8', 'first', 0, NULL, '763fa6ce-9405-4979-90bc-f4af8f9b206c', true, '{"bias": true, "space": "window", "width": 96, "kernel": null}', '2026-11-21 11:18:48.499606+00');
INSERT INTO archspec_trials VALUES ('b70ad222-236a-4478-8e95-9dfceb77e1c5', 'first', 1, NULL, 'f0486fad-dab5-48dc-82b5-d153b45e726c', true, '{"bias": true, "space": "window", "width": 96, "kernel": null}', '2026-11-21 11:18:48.518197+00');
INSERT INTO archspec_trials VALUES ('37aea48f-cf7a-4d3e-909c-21bb7c38a930', 'first', 2, NULL, '78cd149a-efea-4c05-8ea5-45309ce63375', true, '{"bias": true, "space": "window", "width": 96, "kernel": null}', '2026-11-21 11:18:48.52809+00');
ALTER TABLE ONLY archspec_epochs
    ADD CONSTRAINT pk_archspec_epochs PRIMARY KEY (evaluation, epoch);
ALTER TABLE ONLY archspec_evaluations
    ADD CONSTRAINT pk_archspec_evaluations PRIMARY KEY (uuid);
ALTER TABLE ONLY archspec_events
    ADD CONSTRAINT pk_archspec_events PRIMARY KEY (uuid);
ALTER TABLE ONLY archspec_schema
    ADD CONSTRAINT pk_archspec_schema PRIMARY KEY (version);
ALTER TABLE ONLY archspec_studies
    ADD CONSTRAINT pk_archspec_studies PRIMARY KEY (name);
ALTER TABLE ONLY archspec_trials
    ADD CONSTRAINT pk_archspec_trials PRIMARY KEY (uuid);
ALTER TABLE ONLY archspec_evaluations
    ADD CONSTRAINT uq_archspec_evaluations_digest_protocol_seed UNIQUE (digest, protocol, seed);
ALTER TABLE ONLY archspec_trials
    ADD CONSTRAINT uq_archspec_trials_study_number UNIQUE (study, number);
ALTER TABLE ONLY archspec_trials
    ADD CONSTRAINT uq_archspec_trials_study_reference UNIQUE (study, reference);
CREATE INDEX ix_archspec_events_study ON archspec_events USING btree (study);
CREATE INDEX ix_archspec_trials_evaluation ON archspec_trials USING btree (evaluation);
ALTER TABLE ONLY archspec_epochs
    ADD CONSTRAINT fk_archspec_epochs_evaluation FOREIGN KEY (evaluation) REFERENCES archspec_evaluations(uuid);
ALTER TABLE ONLY archspec_events
    ADD CONSTRAINT fk_archspec_events_study FOREIGN KEY (study) REFERENCES archspec_studies(name);
ALTER TABLE ONLY archspec_trials
    ADD CONSTRAINT fk_archspec_trials_evaluation FOREIGN KEY (evaluation) REFERENCES archspec_evaluations(uuid);
ALTER TABLE ONLY archspec_trials
    ADD CONSTRAINT fk_archspec_trials_study FOREIGN KEY (study) REFERENCES archspec_studies(name);
