-- How many undelivered songs a server has is checked with each request.

CREATE INDEX songs_undelivered ON songs (server_id)
    WHERE undelivered IS NOT NULL AND delivered_at IS NULL AND file IS NOT NULL;
