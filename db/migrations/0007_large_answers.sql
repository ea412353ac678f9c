-- An answer of over a mebibyte is read while no other is. What the process dies of meanwhile, it would
-- die of again at every start, so that such deaths are counted: one more before, one less after.

ALTER TABLE songs ADD COLUMN large_reads INTEGER NOT NULL DEFAULT 0 -- begun, and not ended by this process
    CHECK (large_reads BETWEEN 0 AND 3);
