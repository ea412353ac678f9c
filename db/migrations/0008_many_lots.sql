-- A member may have thousands of lots, each of a gift of one credit. The first that expire are found
-- in the order of the index, and what all hold is summed up from it alone.

DROP INDEX lots_with_credits;

CREATE INDEX lots_with_credits ON lots (server_id, member_id, expires_at, lot_id, kind, remaining, amount)
    WHERE remaining > 0;
