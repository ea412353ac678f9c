-- The operator gets a message when the bot joins a server: whoever invited it spends their songs.

ALTER TABLE servers ADD COLUMN notify_since INTEGER; -- joined then; NULL: the operator was notified

CREATE INDEX servers_to_notify ON servers (notify_since) WHERE notify_since IS NOT NULL;
