-- Ids are Discord's snowflakes and fit 63 bits; times (*_at, *_until) are milliseconds since 1970 in
-- UTC; credits are whole. What must never happen stands here as a constraint, so that no caller can
-- make it happen.

CREATE TABLE servers (
    server_id     INTEGER PRIMARY KEY,
    allowance     INTEGER CHECK (allowance BETWEEN 0 AND 1000000), -- a day; NULL: the default
    last_number   INTEGER NOT NULL DEFAULT 0,                      -- of the newest song
    last_start_at INTEGER,                                         -- for fair order
    greeted_at    INTEGER,
    left_at       INTEGER,
    forgotten_at  INTEGER,                                         -- long after it was left
    CHECK (forgotten_at IS NULL OR left_at IS NOT NULL)
) STRICT;

CREATE INDEX servers_last_start ON servers (last_start_at);

CREATE TABLE members (
    server_id     INTEGER NOT NULL REFERENCES servers,
    member_id     INTEGER NOT NULL,
    last_start_at INTEGER,
    PRIMARY KEY (server_id, member_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE songs (
    song_id         INTEGER PRIMARY KEY, -- the id of the interaction that asked: delivered twice, one song
    server_id       INTEGER NOT NULL,
    member_id       INTEGER NOT NULL,
    channel_id      INTEGER NOT NULL,
    number          INTEGER NOT NULL,    -- what people call it: #42
    genres          TEXT    NOT NULL,
    lyrics          TEXT    NOT NULL,
    seconds         INTEGER NOT NULL,
    steps           INTEGER NOT NULL,
    cfg             REAL    NOT NULL,
    shift           REAL    NOT NULL,
    lyrics_strength REAL    NOT NULL,
    seed            INTEGER NOT NULL,
    price           INTEGER NOT NULL CHECK (price >= 0),
    status          TEXT    NOT NULL DEFAULT 'QUEUED'
                    CHECK (status IN ('QUEUED', 'PROCESSING', 'COMPLETED', 'FAILED', 'CANCELLED')),
    step            TEXT    NOT NULL DEFAULT 'waiting'
                    CHECK (step IN ('waiting', 'submitting', 'submitted', 'downloaded', 'fitted',
                                    'posting', 'ended')),
    submits         INTEGER NOT NULL DEFAULT 0 CHECK (submits BETWEEN 0 AND 2),
    request_id      TEXT,
    reason          TEXT,                -- why it FAILED, fit for the member
    file            TEXT,                -- the fitted file's name, in the data folder
    asked_at        INTEGER NOT NULL,
    submitted_at    INTEGER,
    posting_at      INTEGER,
    ended_at        INTEGER,
    run_low         INTEGER,             -- ms from submit to the last look that saw it unfinished
    run_high        INTEGER,             -- ms from submit to the look that saw it finished
    application_id  INTEGER NOT NULL,
    message_id      INTEGER,             -- of the status message
    token           TEXT,                -- the interaction's: it edits the status message
    token_until     INTEGER,
    post_id         INTEGER,             -- the message that carries the song
    undelivered     TEXT,                -- why it could not be posted
    delivered_at    INTEGER,             -- posted, or handed over in the status message
    UNIQUE (server_id, number),
    FOREIGN KEY (server_id, member_id) REFERENCES members,
    CHECK ((step = 'ended') = (status IN ('COMPLETED', 'FAILED', 'CANCELLED'))),
    CHECK ((step = 'ended') = (ended_at IS NOT NULL)),
    CHECK (step <> 'waiting' OR status = 'QUEUED'),
    CHECK (status <> 'CANCELLED' OR (submits = 0 AND request_id IS NULL)),
    CHECK (step IN ('waiting', 'submitting', 'ended') OR submitted_at IS NOT NULL),
    CHECK (step NOT IN ('fitted', 'posting') OR file IS NOT NULL),
    CHECK (step <> 'posting' OR posting_at IS NOT NULL),
    CHECK ((status = 'FAILED') = (reason IS NOT NULL)),
    CHECK ((status = 'COMPLETED') = (post_id IS NOT NULL OR undelivered IS NOT NULL)),
    CHECK (post_id IS NULL OR undelivered IS NULL),
    CHECK ((post_id IS NULL AND undelivered IS NULL) OR posting_at IS NOT NULL),
    CHECK (delivered_at IS NULL OR status = 'COMPLETED'),
    CHECK (post_id IS NULL OR delivered_at IS NOT NULL),
    CHECK ((token IS NULL) = (token_until IS NULL))
) STRICT;

-- The history grows for ever; what is looked at often stands apart from it.
CREATE INDEX songs_waiting ON songs (server_id, member_id, asked_at, song_id) WHERE step = 'waiting';
CREATE INDEX songs_unfinished ON songs (server_id, member_id, step, price) WHERE step <> 'ended';
CREATE INDEX songs_of_member ON songs (server_id, member_id, song_id);
CREATE INDEX songs_with_token ON songs (song_id) WHERE token_until IS NOT NULL;
CREATE INDEX songs_with_file ON songs (ended_at) WHERE file IS NOT NULL;
CREATE INDEX songs_run ON songs (ended_at) WHERE run_high IS NOT NULL;

-- A lot is an amount of credits that came in together and expires together.
CREATE TABLE lots (
    lot_id     TEXT    PRIMARY KEY, -- allowance:<server>:<member>:<day>, grant:<interaction>, return:<song>
    server_id  INTEGER NOT NULL,
    member_id  INTEGER NOT NULL,
    kind       TEXT    NOT NULL CHECK (kind IN ('allowance', 'grant', 'return')),
    amount     INTEGER NOT NULL CHECK (amount >= 0), -- spent, held and remaining together
    remaining  INTEGER NOT NULL,                     -- the sum of its parts in the ledger, kept
    revision   INTEGER NOT NULL DEFAULT 0,           -- how often the rule has changed it
    expires_at INTEGER,
    FOREIGN KEY (server_id, member_id) REFERENCES members,
    CHECK (remaining BETWEEN 0 AND amount)
) STRICT;

CREATE INDEX lots_with_credits ON lots (server_id, member_id, expires_at) WHERE remaining > 0;

-- Append-only. The key is the fact that caused the entry: no fact is entered twice, whoever retries.
CREATE TABLE ledger (
    entry_id  TEXT    PRIMARY KEY,
    kind      TEXT    NOT NULL CHECK (kind IN ('allowance', 'grant', 'expire',
                                               'hold', 'settle', 'refund', 'compensate')),
    server_id INTEGER NOT NULL,
    member_id INTEGER NOT NULL,
    song_id   INTEGER REFERENCES songs,
    after_id  TEXT    REFERENCES ledger,  -- the entry that this one follows
    amount    INTEGER NOT NULL,           -- the change of the member's balance
    price     INTEGER,
    actor_id  INTEGER,                    -- who granted
    reason    TEXT,
    at        INTEGER NOT NULL,
    FOREIGN KEY (server_id, member_id) REFERENCES members,
    CHECK ((kind IN ('hold', 'settle', 'refund', 'compensate')) = (song_id IS NOT NULL)),
    CHECK (song_id IS NULL OR entry_id = kind || ':' || song_id),
    CHECK (CASE kind WHEN 'settle'     THEN after_id = 'hold:' || song_id
                     WHEN 'refund'     THEN after_id = 'hold:' || song_id
                     WHEN 'compensate' THEN after_id = 'settle:' || song_id
                     ELSE after_id IS NULL END IS TRUE),
    CHECK (CASE kind WHEN 'hold'   THEN amount <= 0
                     WHEN 'settle' THEN amount = 0
                     WHEN 'expire' THEN amount < 0
                     WHEN 'grant'  THEN amount > 0
                     WHEN 'allowance' THEN TRUE
                     ELSE amount >= 0 END)
) STRICT;

-- One hold, then one of settle or refund.
CREATE UNIQUE INDEX ledger_one_end ON ledger (song_id) WHERE kind IN ('settle', 'refund');
CREATE INDEX ledger_of_member ON ledger (server_id, member_id, at);

-- Which lots an entry moved, so that a refund returns to where the credits came from.
CREATE TABLE ledger_parts (
    entry_id TEXT    NOT NULL REFERENCES ledger,
    lot_id   TEXT    NOT NULL REFERENCES lots,
    amount   INTEGER NOT NULL,
    PRIMARY KEY (entry_id, lot_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE drafts (
    draft_id   INTEGER PRIMARY KEY, -- the id of the interaction that opened the form
    server_id  INTEGER NOT NULL,
    member_id  INTEGER NOT NULL,
    options    TEXT    NOT NULL,    -- JSON: what was typed beside the lyrics
    created_at INTEGER NOT NULL
) STRICT;

-- What the operator was told and has not mended yet.
CREATE TABLE incidents (
    kind      TEXT    PRIMARY KEY,
    detail    TEXT    NOT NULL,
    opened_at INTEGER NOT NULL,
    told_at   INTEGER
) STRICT;

-- What Discord was last given as this application's commands.
CREATE TABLE command_sets (
    application_id INTEGER PRIMARY KEY,
    digest         TEXT    NOT NULL
) STRICT;
