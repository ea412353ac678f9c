-- A song that could not be posted is tried again. It is marked before each try, so that a kill in
-- the middle leaves a doubt that is cleared up before it is sent once more, or given back.

ALTER TABLE songs ADD COLUMN in_doubt INTEGER NOT NULL DEFAULT 0 -- it may be in the channel after all
    CHECK (in_doubt = 0 OR (in_doubt = 1 AND undelivered IS NOT NULL AND file IS NOT NULL
                            AND delivered_at IS NULL));

-- Of those before this, nobody wrote down whether they may be there.
UPDATE songs SET in_doubt = 1
WHERE undelivered IS NOT NULL AND file IS NOT NULL AND delivered_at IS NULL;
