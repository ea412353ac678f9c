-- What the managers of a server decide, who decided it, and what the ceilings count. The ledger and
-- the lots are made anew, since SQLite can't change a CHECK: they learn `take` and `gift`, and a
-- hold says in which of its server's periods it counts. Without a rowid their key is looked up once
-- instead of twice, and a commit writes a page less for each entry.

ALTER TABLE servers ADD COLUMN name TEXT; -- as Discord last said it, for the operator's list

ALTER TABLE songs ADD COLUMN counted_at INTEGER; -- its last submit, as the operator's ceilings count

CREATE INDEX songs_of_server ON songs (server_id, asked_at, status, member_id);

-- A rule that is not here is the default.
CREATE TABLE rules (
    server_id  INTEGER NOT NULL REFERENCES servers,
    name       TEXT    NOT NULL
               CHECK (name IN ('allowance', 'role', 'member', 'limits', 'channels', 'block', 'words',
                               'pause', 'ceiling', 'log', 'gifts', 'leaderboard')),
    subject_id INTEGER NOT NULL DEFAULT 0, -- the role or the member that it is about
    value      TEXT    NOT NULL,           -- JSON
    PRIMARY KEY (server_id, name, subject_id),
    CHECK ((name IN ('role', 'member', 'block')) = (subject_id <> 0))
) STRICT, WITHOUT ROWID;

INSERT INTO rules (server_id, name, value)
SELECT server_id, 'allowance', '{"credits":' || allowance || '}' FROM servers
WHERE allowance IS NOT NULL;

ALTER TABLE servers DROP COLUMN allowance;

-- How a server counts its periods, from a moment on; before the first, by days in UTC.
CREATE TABLE calendars (
    server_id INTEGER NOT NULL REFERENCES servers,
    from_at   INTEGER NOT NULL,
    every     TEXT    NOT NULL CHECK (every IN ('day', 'week', 'month')),
    hour      INTEGER NOT NULL CHECK (hour BETWEEN 0 AND 23),
    zone      TEXT    NOT NULL,
    PRIMARY KEY (server_id, from_at)
) STRICT, WITHOUT ROWID;

-- What was done by those who manage a server, and the warnings of its ceiling, in their order.
CREATE TABLE changes (
    server_id      INTEGER NOT NULL REFERENCES servers,
    number         INTEGER NOT NULL,
    name           TEXT    NOT NULL, -- a rule's, 'calendar', 'grant', 'take', 'reset' or 'warning'
    subject_id     INTEGER NOT NULL DEFAULT 0,
    before         TEXT,             -- JSON; NULL: the default, or nothing
    after          TEXT,
    actor_id       INTEGER,          -- NULL: the bot itself, or its operator
    reason         TEXT,
    at             INTEGER NOT NULL,
    undoes         INTEGER,          -- the number of the change that it took back
    log_channel_id INTEGER,          -- where it is to be told; NULL: nowhere
    logged_at      INTEGER,
    PRIMARY KEY (server_id, number),
    FOREIGN KEY (server_id, undoes) REFERENCES changes,
    CHECK (undoes < number),
    CHECK (logged_at IS NULL OR log_channel_id IS NOT NULL)
) STRICT, WITHOUT ROWID;

CREATE INDEX changes_to_log ON changes (at) WHERE log_channel_id IS NOT NULL AND logged_at IS NULL;

-- Credits given to a role, or taken from it: once from each member who is seen with it in time.
CREATE TABLE offers (
    offer_id   INTEGER PRIMARY KEY, -- the id of the interaction that made it
    server_id  INTEGER NOT NULL REFERENCES servers,
    role_id    INTEGER NOT NULL,
    kind       TEXT    NOT NULL CHECK (kind IN ('grant', 'take')),
    amount     INTEGER NOT NULL CHECK (amount > 0),
    reason     TEXT,
    actor_id   INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    ends_at    INTEGER NOT NULL,    -- whoever is seen later gets nothing
    expires_at INTEGER,             -- of what is given
    CHECK (ends_at > at),
    CHECK (expires_at IS NULL OR (kind = 'grant' AND expires_at >= ends_at))
) STRICT;

CREATE INDEX offers_of_server ON offers (server_id, ends_at);

-- What a server's own ceiling counts: held and settled, less what was given back.
CREATE TABLE server_periods (
    server_id INTEGER NOT NULL REFERENCES servers,
    period_at INTEGER NOT NULL,                    -- when the period began
    used      INTEGER NOT NULL CHECK (used >= 0),  -- credits; the sum over the ledger, kept
    warned    INTEGER NOT NULL DEFAULT 0 CHECK (warned IN (0, 80, 100)), -- percent, told
    PRIMARY KEY (server_id, period_at)
) STRICT, WITHOUT ROWID;

-- What the operator's ceilings count: every submit that was, or may have been, accepted.
CREATE TABLE submits (
    day       INTEGER NOT NULL, -- when it began, in UTC
    server_id INTEGER NOT NULL, -- 0: all together
    songs     INTEGER NOT NULL CHECK (songs >= 0),
    credits   INTEGER NOT NULL CHECK (credits >= 0),
    PRIMARY KEY (day, server_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE operator_ceilings (
    scope     TEXT    NOT NULL CHECK (scope IN ('all', 'each', 'server')),
    server_id INTEGER NOT NULL DEFAULT 0,
    credits   INTEGER CHECK (credits >= 0), -- a day in UTC; NULL: as many as there are
    songs     INTEGER CHECK (songs >= 0),
    PRIMARY KEY (scope, server_id),
    CHECK ((scope = 'server') = (server_id <> 0))
) STRICT, WITHOUT ROWID;

CREATE TABLE new_lots (
    lot_id     TEXT    PRIMARY KEY, -- allowance:<server>:<member>:<period>, return:<song>,
                                    -- gift:<interaction>:<n>, or the entry's that granted it
    server_id  INTEGER NOT NULL,
    member_id  INTEGER NOT NULL,
    kind       TEXT    NOT NULL CHECK (kind IN ('allowance', 'grant', 'gift', 'return')),
    amount     INTEGER NOT NULL CHECK (amount >= 0), -- spent, held and remaining together
    remaining  INTEGER NOT NULL,                     -- the sum of its parts in the ledger, kept
    revision   INTEGER NOT NULL DEFAULT 0,           -- how often the rule has changed it
    expires_at INTEGER,
    FOREIGN KEY (server_id, member_id) REFERENCES members,
    CHECK (remaining BETWEEN 0 AND amount)
) STRICT, WITHOUT ROWID;

INSERT INTO new_lots
SELECT lot_id, server_id, member_id, kind, amount, remaining, revision, expires_at FROM lots;

DROP TABLE lots;

ALTER TABLE new_lots RENAME TO lots;

CREATE INDEX lots_with_credits ON lots (server_id, member_id, expires_at) WHERE remaining > 0;

CREATE TABLE new_ledger (
    entry_id  TEXT    PRIMARY KEY,
    kind      TEXT    NOT NULL CHECK (kind IN ('allowance', 'grant', 'take', 'gift', 'expire',
                                               'hold', 'settle', 'refund', 'compensate')),
    server_id INTEGER NOT NULL,
    member_id INTEGER NOT NULL,
    song_id   INTEGER REFERENCES songs,
    after_id  TEXT    REFERENCES new_ledger, -- the entry that this one follows
    amount    INTEGER NOT NULL,          -- the change of the member's balance
    price     INTEGER,                   -- the song's, also where it cost its member nothing
    period_at INTEGER,                   -- a hold's: when the server's period began that counts it
    actor_id  INTEGER,                   -- who granted or took; the other side of a gift
    reason    TEXT,
    at        INTEGER NOT NULL,
    FOREIGN KEY (server_id, member_id) REFERENCES members,
    CHECK ((kind IN ('hold', 'settle', 'refund', 'compensate')) = (song_id IS NOT NULL)),
    CHECK ((kind = 'hold') = (period_at IS NOT NULL)),
    CHECK (song_id IS NULL OR (entry_id = kind || ':' || song_id AND price IS NOT NULL)),
    CHECK (CASE kind WHEN 'settle'     THEN after_id = 'hold:' || song_id
                     WHEN 'refund'     THEN after_id = 'hold:' || song_id
                     WHEN 'compensate' THEN after_id = 'settle:' || song_id
                     ELSE after_id IS NULL END IS TRUE),
    CHECK (CASE kind WHEN 'hold'   THEN amount IN (0, -price) -- 0: unlimited
                     WHEN 'settle' THEN amount = 0
                     WHEN 'expire' THEN amount < 0
                     WHEN 'take'   THEN amount <= 0
                     WHEN 'grant'  THEN amount > 0
                     WHEN 'gift'   THEN amount <> 0
                     WHEN 'allowance' THEN TRUE
                     ELSE amount IN (0, price) END)
) STRICT, WITHOUT ROWID;

INSERT INTO new_ledger
SELECT entry_id, kind, server_id, member_id, song_id, after_id, amount, price,
       CASE kind WHEN 'hold' THEN at - at % 86400000 END, actor_id, reason, at
FROM ledger;

DROP TABLE ledger;

ALTER TABLE new_ledger RENAME TO ledger;

-- One hold, then one of settle or refund.
CREATE UNIQUE INDEX ledger_one_end ON ledger (song_id) WHERE kind IN ('settle', 'refund');
CREATE INDEX ledger_of_member ON ledger (server_id, member_id, at, entry_id);
CREATE INDEX ledger_of_server ON ledger (server_id, at, entry_id);

INSERT INTO server_periods (server_id, period_at, used)
SELECT hold.server_id, hold.period_at, sum(hold.price) FROM ledger AS hold
WHERE hold.kind = 'hold' AND NOT EXISTS (
    SELECT 1 FROM ledger AS back
    WHERE back.entry_id IN ('refund:' || hold.song_id, 'compensate:' || hold.song_id)
)
GROUP BY hold.server_id, hold.period_at;
