-- SPDX-License-Identifier: Apache-2.0
-- The schema of version 1, as it was released.
CREATE TABLE aliases (
	source TEXT NOT NULL, 
	domain TEXT NOT NULL, 
	targets TEXT NOT NULL, 
	PRIMARY KEY (source)
)
 WITHOUT ROWID;
CREATE INDEX aliases_domain ON aliases (domain);
CREATE TABLE blobs (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	size BIGINT NOT NULL, 
	body BLOB, 
	file TEXT
);
CREATE TABLE commits (
	token TEXT NOT NULL, 
	made DOUBLE NOT NULL, 
	PRIMARY KEY (token)
)
 WITHOUT ROWID;
CREATE TABLE counters (
	name TEXT NOT NULL, 
	value BIGINT NOT NULL, 
	PRIMARY KEY (name)
)
 WITHOUT ROWID;
CREATE TABLE deleted_mailboxes (
	id INTEGER NOT NULL, 
	owner TEXT NOT NULL, 
	name TEXT NOT NULL, 
	gone DOUBLE NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE domains (
	name TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	PRIMARY KEY (name)
)
 WITHOUT ROWID;
CREATE TABLE key_values (
	plugin TEXT NOT NULL, 
	name TEXT NOT NULL, 
	value BLOB NOT NULL, 
	expires DOUBLE, 
	PRIMARY KEY (plugin, name)
)
 WITHOUT ROWID;
CREATE INDEX key_values_expires ON key_values (expires);
CREATE TABLE loose (
	id INTEGER NOT NULL, 
	blob_id BIGINT NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE messages (
	mailbox_id BIGINT NOT NULL, 
	uid BIGINT NOT NULL, 
	modseq BIGINT NOT NULL, 
	flags SMALLINT NOT NULL, 
	keywords TEXT NOT NULL, 
	date BIGINT NOT NULL, 
	size BIGINT NOT NULL, 
	blob_id BIGINT NOT NULL, 
	PRIMARY KEY (mailbox_id, uid)
)
 WITHOUT ROWID;
CREATE INDEX messages_blob ON messages (blob_id);
CREATE INDEX messages_modseq ON messages (mailbox_id, modseq);
CREATE TABLE outbox (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	hook TEXT NOT NULL, 
	payload TEXT NOT NULL, 
	attempts INTEGER DEFAULT '0' NOT NULL, 
	ready DOUBLE, 
	owner TEXT DEFAULT '' NOT NULL, 
	error TEXT DEFAULT '' NOT NULL
);
CREATE INDEX outbox_ready ON outbox (ready);
CREATE TABLE parsed (
	blob_id INTEGER NOT NULL, 
	octets BLOB NOT NULL, 
	PRIMARY KEY (blob_id)
);
CREATE TABLE queue_messages (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	queue_id TEXT NOT NULL, 
	origin TEXT NOT NULL, 
	sender TEXT, 
	blob_id BIGINT NOT NULL, 
	size BIGINT NOT NULL, 
	skip BIGINT NOT NULL, 
	received_at DOUBLE NOT NULL, 
	envid TEXT, 
	ret TEXT, 
	smtputf8 SMALLINT NOT NULL, 
	eightbit SMALLINT NOT NULL, 
	message_id TEXT NOT NULL, 
	login TEXT NOT NULL, 
	UNIQUE (queue_id)
);
CREATE INDEX queue_messages_blob ON queue_messages (blob_id);
CREATE TABLE schema_version (
	version INTEGER NOT NULL, 
	made DOUBLE NOT NULL, 
	PRIMARY KEY (version)
);
CREATE TABLE subscriptions (
	user_id BIGINT NOT NULL, 
	name TEXT NOT NULL, 
	PRIMARY KEY (user_id, name)
)
 WITHOUT ROWID;
CREATE TABLE tombstones (
	mailbox_id BIGINT NOT NULL, 
	uid BIGINT NOT NULL, 
	modseq BIGINT NOT NULL, 
	flags SMALLINT NOT NULL, 
	keywords TEXT NOT NULL, 
	date BIGINT NOT NULL, 
	size BIGINT NOT NULL, 
	blob_id BIGINT, 
	gone DOUBLE NOT NULL, 
	PRIMARY KEY (mailbox_id, uid)
)
 WITHOUT ROWID;
CREATE INDEX tombstones_blob ON tombstones (blob_id) WHERE blob_id IS NOT NULL;
CREATE INDEX tombstones_gone ON tombstones (gone);
CREATE INDEX tombstones_kept ON tombstones (gone) WHERE blob_id IS NOT NULL;
CREATE INDEX tombstones_modseq ON tombstones (mailbox_id, modseq);
CREATE TABLE trace_steps (
	id INTEGER NOT NULL, 
	queue_id TEXT NOT NULL, 
	step TEXT NOT NULL, 
	PRIMARY KEY (id)
);
CREATE INDEX trace_steps_queue ON trace_steps (queue_id);
CREATE TABLE traces (
	id INTEGER NOT NULL, 
	queue_id TEXT NOT NULL, 
	made DOUBLE NOT NULL, 
	origin TEXT NOT NULL, 
	sender TEXT NOT NULL, 
	recipients TEXT NOT NULL, 
	message_id TEXT NOT NULL, 
	size BIGINT NOT NULL, 
	client TEXT NOT NULL, 
	login TEXT NOT NULL, 
	steps TEXT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (queue_id)
);
CREATE INDEX traces_made ON traces (made);
CREATE TABLE users (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	domain TEXT NOT NULL, 
	local TEXT NOT NULL, 
	lowered TEXT NOT NULL, 
	password_hash TEXT, 
	enabled SMALLINT DEFAULT '1' NOT NULL, 
	quota BIGINT DEFAULT '0' NOT NULL, 
	UNIQUE (domain, lowered)
);
CREATE TABLE mailboxes (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	user_id BIGINT NOT NULL, 
	name TEXT NOT NULL, 
	uid_validity BIGINT NOT NULL, 
	uid_next BIGINT DEFAULT '1' NOT NULL, 
	highest_modseq BIGINT DEFAULT '1' NOT NULL, 
	recent_uid BIGINT DEFAULT '1' NOT NULL, 
	forgotten_modseq BIGINT DEFAULT '0' NOT NULL, 
	messages BIGINT DEFAULT '0' NOT NULL, 
	unseen BIGINT DEFAULT '0' NOT NULL, 
	deleted BIGINT DEFAULT '0' NOT NULL, 
	size BIGINT DEFAULT '0' NOT NULL, 
	deleted_size BIGINT DEFAULT '0' NOT NULL, 
	special_use TEXT DEFAULT '' NOT NULL, 
	UNIQUE (user_id, name), 
	FOREIGN KEY(user_id) REFERENCES users (id)
);
CREATE TABLE queue (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	message_id BIGINT NOT NULL, 
	local TEXT NOT NULL, 
	domain TEXT NOT NULL, 
	transport TEXT NOT NULL, 
	site TEXT NOT NULL, 
	user_id BIGINT, 
	orcpt TEXT, 
	notify TEXT NOT NULL, 
	attempts INTEGER DEFAULT '0' NOT NULL, 
	due DOUBLE NOT NULL, 
	hold TEXT DEFAULT '' NOT NULL, 
	ready DOUBLE, 
	owner TEXT DEFAULT '' NOT NULL, 
	last_reply TEXT DEFAULT '' NOT NULL, 
	warned SMALLINT DEFAULT '0' NOT NULL, 
	FOREIGN KEY(message_id) REFERENCES queue_messages (id)
);
CREATE INDEX queue_message ON queue (message_id);
CREATE INDEX queue_ready ON queue (ready);
CREATE INDEX queue_site ON queue (site, ready);
