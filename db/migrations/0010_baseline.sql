-- Ids are Discord's snowflakes and fit 63 bits; times (*_at, *_until, *_since) are milliseconds since
-- 1970 in UTC; credits are whole. What must never happen stands here as a constraint, so that no
-- caller can make it happen.

CREATE TABLE servers (
    server_id     INTEGER PRIMARY KEY,
    name          TEXT,                       -- as Discord last said it, for the operator's list
    last_number   INTEGER NOT NULL DEFAULT 0, -- of the newest song
    last_start_at INTEGER,                    -- for fair order
    greeted_at    INTEGER,
    notify_since  INTEGER,                    -- joined then; NULL: the operator was notified
    left_at       INTEGER,
    forgotten_at  INTEGER,                    -- long after it was left
    CHECK (forgotten_at IS NULL OR left_at IS NOT NULL)
) STRICT;

CREATE INDEX servers_last_start ON servers (last_start_at);
CREATE INDEX servers_to_notify ON servers (notify_since) WHERE notify_since IS NOT NULL;

CREATE TABLE members (
    server_id     INTEGER NOT NULL REFERENCES servers,
    member_id     INTEGER NOT NULL,
    last_start_at INTEGER,
    PRIMARY KEY (server_id, member_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE songs (
    song_id         INTEGER PRIMARY KEY, -- the id of its interaction: delivered twice, one song
    server_id       INTEGER NOT NULL,
    member_id       INTEGER NOT NULL,
    channel_id      INTEGER NOT NULL,    -- where it is posted
    origin_id       INTEGER,             -- where it was requested, if that is another channel
    parent_id       INTEGER,             -- the channel of the thread in which it was requested
    number          INTEGER NOT NULL,    -- what people call it: #42
    genres          TEXT    NOT NULL,
    lyrics          TEXT    NOT NULL,
    seconds         INTEGER NOT NULL,
    steps           INTEGER NOT NULL,
    cfg             REAL    NOT NULL,
    shift           REAL    NOT NULL,
    lyrics_strength REAL    NOT NULL,
    seed            INTEGER NOT NULL,
    provider        TEXT    NOT NULL DEFAULT 'segmind', -- that makes it
    price           INTEGER NOT NULL CHECK (price >= 0),
    state           TEXT    NOT NULL DEFAULT 'waiting'
                    CHECK (state IN ('waiting', 'submitting', 'submitted', 'downloaded', 'ready',
                                     'posting', 'undelivered', 'completed', 'refunded', 'failed',
                                     'cancelled')),
    state_at        INTEGER NOT NULL,    -- when it came to its state; undelivered: was last tried
    processing      INTEGER NOT NULL DEFAULT 0 CHECK (processing IN (0, 1)), -- the API makes it
    submits         INTEGER NOT NULL DEFAULT 0 CHECK (submits BETWEEN 0 AND 2),
    counted_at      INTEGER,             -- its last submit, as the operator's budgets count
    request_id      TEXT,
    large_reads     INTEGER NOT NULL DEFAULT 0 -- of its answer: begun, and not ended by this process
                    CHECK (large_reads BETWEEN 0 AND 3),
    reason          TEXT,                -- why it failed or could not be posted: db/records.py
    reason_detail   TEXT,                -- what the song API or Discord said, fit for the member
    fault           TEXT,                -- who caused it to fail or be cancelled
    file            TEXT,                -- the transcoded file's name, in the data folder
    requested_at    INTEGER NOT NULL,
    submitted_at    INTEGER,
    posting_at      INTEGER,
    ended_at        INTEGER,
    run_low         INTEGER,             -- ms from submit to the last poll that saw it unfinished
    run_high        INTEGER,             -- ms from submit to the poll that saw it finished
    application_id  INTEGER NOT NULL,
    message_id      INTEGER,             -- of the status message
    token           TEXT,                -- the interaction's: it edits the status message
    token_until     INTEGER,
    post_id         INTEGER,             -- the message that carries the song
    in_doubt        INTEGER NOT NULL DEFAULT 0, -- undelivered, but it may be in the channel
    attempts        INTEGER NOT NULL DEFAULT 0, -- to post it while it was undelivered, failed
    next_attempt_at INTEGER,             -- not earlier; an event in the server may bring it forward
    UNIQUE (server_id, number),
    FOREIGN KEY (server_id, member_id) REFERENCES members,
    CHECK (origin_id <> channel_id),
    CHECK ((ended_at IS NOT NULL)
           = (state IN ('undelivered', 'completed', 'refunded', 'failed', 'cancelled'))),
    CHECK (state <> 'waiting' OR processing = 0),
    CHECK (state <> 'cancelled' OR (submits = 0 AND request_id IS NULL AND lyrics = '')),
    CHECK (state NOT IN ('submitted', 'downloaded', 'ready', 'posting')
           OR submitted_at IS NOT NULL),
    CHECK ((state IN ('ready', 'posting', 'undelivered')) = (file IS NOT NULL)),
    CHECK (state NOT IN ('posting', 'undelivered', 'completed', 'refunded')
           OR posting_at IS NOT NULL),
    CHECK (post_id IS NULL OR state = 'completed'),
    CHECK ((reason IS NOT NULL) = (state IN ('undelivered', 'refunded', 'failed')
                                   OR (state = 'completed' AND post_id IS NULL))), -- handed over
    CHECK (reason_detail IS NULL OR reason IS NOT NULL),
    CHECK (fault IS NULL OR CASE state
               WHEN 'cancelled' THEN fault IN ('member', 'server')
               WHEN 'failed' THEN fault IN ('request', 'service', 'account', 'machine')
               ELSE 0 END),
    CHECK (in_doubt = 0 OR (in_doubt = 1 AND state = 'undelivered')),
    CHECK ((next_attempt_at IS NOT NULL) = (state = 'undelivered')),
    CHECK ((token IS NULL) = (token_until IS NULL))
) STRICT;

-- The history grows for ever; what is read often stands apart from it.
CREATE INDEX songs_waiting ON songs (server_id, member_id, requested_at, song_id)
    WHERE state = 'waiting';
CREATE INDEX songs_unfinished ON songs (server_id, member_id, ended_at, price)
    WHERE ended_at IS NULL;
CREATE INDEX songs_of_member ON songs (server_id, member_id, song_id);
CREATE INDEX songs_of_server ON songs (server_id, requested_at, state, member_id);
CREATE INDEX songs_with_token ON songs (song_id) WHERE token_until IS NOT NULL;
CREATE INDEX songs_with_file ON songs (ended_at) WHERE file IS NOT NULL;
CREATE INDEX songs_run ON songs (ended_at) WHERE run_high IS NOT NULL;
CREATE INDEX songs_undelivered ON songs (server_id, state, member_id)
    WHERE state = 'undelivered';
-- A member may cancel, and have songs fail for what they requested, only so often in an hour.
CREATE INDEX songs_refunded_by_choice ON songs (member_id, ended_at)
    WHERE fault IN ('member', 'request');
-- Lyrics of what failed stay for a day, so that it can be tried again.
CREATE INDEX songs_failed_with_lyrics ON songs (ended_at) WHERE state = 'failed' AND lyrics <> '';

-- The ways that a song may take. The updates of `db/songs.py` read where they may start here.
CREATE TABLE song_transitions (
    from_state TEXT NOT NULL,
    to_state   TEXT NOT NULL,
    PRIMARY KEY (from_state, to_state)
) STRICT, WITHOUT ROWID;

INSERT INTO song_transitions (to_state, from_state) VALUES
    ('submitting',  'waiting'),
    ('submitting',  'submitting'),  -- its answer was lost
    ('waiting',     'submitting'),  -- not accepted
    ('submitted',   'submitting'),
    ('downloaded',  'submitted'),
    ('downloaded',  'submitting'),  -- submitted and made in one call
    ('ready',       'downloaded'),
    ('ready',       'posting'),     -- too large: transcoded again
    ('posting',     'ready'),
    ('undelivered', 'posting'),
    ('undelivered', 'undelivered'), -- for another reason
    ('completed',   'posting'),
    ('completed',   'undelivered'), -- posted late, or handed over
    ('completed',   'submitting'),  -- a post was found that a disk had lost the mark of
    ('completed',   'submitted'),
    ('completed',   'downloaded'),
    ('completed',   'ready'),
    ('refunded',    'undelivered'), -- it could not be delivered
    ('failed',      'waiting'),
    ('failed',      'submitting'),
    ('failed',      'submitted'),
    ('failed',      'downloaded'),
    ('failed',      'ready'),
    ('failed',      'posting'),
    ('cancelled',   'waiting');

-- A song's story: each transition, written by the trigger. The reference refuses any other.
CREATE TABLE song_events (
    event_id   INTEGER PRIMARY KEY,
    song_id    INTEGER NOT NULL REFERENCES songs,
    at         INTEGER NOT NULL,
    from_state TEXT    NOT NULL,
    to_state   TEXT    NOT NULL,
    detail     TEXT,             -- the job's id at the API, the post's id, or a reason
    FOREIGN KEY (from_state, to_state) REFERENCES song_transitions
) STRICT;

CREATE INDEX song_events_of_song ON song_events (song_id);
CREATE INDEX song_events_at ON song_events (at);

CREATE TRIGGER song_moves AFTER UPDATE OF state ON songs
WHEN NOT (OLD.state = 'undelivered' AND NEW.state = 'undelivered' AND OLD.reason = NEW.reason) BEGIN
    INSERT INTO song_events (song_id, at, from_state, to_state, detail)
    VALUES (NEW.song_id, NEW.state_at, OLD.state, NEW.state,
            CASE NEW.state WHEN 'submitted' THEN NEW.request_id
                           ELSE coalesce(NEW.post_id, NEW.reason) END);
END;

-- A lot is an amount of credits that came in together and expires together.
CREATE TABLE lots (
    lot_id     TEXT    PRIMARY KEY, -- allowance:<server>:<member>:<period>, return:<song>,
                                    -- gift:<interaction>:<n>, or the entry's that granted it
    server_id  INTEGER NOT NULL,
    member_id  INTEGER NOT NULL,
    kind       TEXT    NOT NULL CHECK (kind IN ('allowance', 'grant', 'gift', 'return')),
    amount     INTEGER NOT NULL CHECK (amount >= 0), -- spent, held and remaining together
    remaining  INTEGER NOT NULL,                     -- the sum of its parts in the ledger, kept
    revision   INTEGER NOT NULL DEFAULT 0,           -- how often it has changed
    expires_at INTEGER,
    usable_until INTEGER NOT NULL                    -- sorts what does not expire behind the rest
        GENERATED ALWAYS AS (coalesce(expires_at, 9223372036854775807)) STORED,
    FOREIGN KEY (server_id, member_id) REFERENCES members,
    CHECK (remaining BETWEEN 0 AND amount)
) STRICT, WITHOUT ROWID;

-- A member may have thousands of lots, each of a gift of one credit. The first that expire are found
-- in the order of the index, and what all hold is summed up from it alone.
CREATE INDEX lots_with_credits
    ON lots (server_id, member_id, usable_until, lot_id, kind, remaining, amount)
    WHERE remaining > 0;

-- Append-only. The key is the fact that caused the entry: no fact is entered twice, whoever retries.
CREATE TABLE ledger (
    entry_id  TEXT    PRIMARY KEY,
    kind      TEXT    NOT NULL CHECK (kind IN ('allowance', 'grant', 'take', 'gift', 'expire',
                                               'hold', 'settle', 'refund', 'compensate')),
    server_id INTEGER NOT NULL,
    member_id INTEGER NOT NULL,
    song_id   INTEGER REFERENCES songs,
    after_id  TEXT    REFERENCES ledger, -- the entry that this one follows
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

-- One hold, then one of settle or refund.
CREATE UNIQUE INDEX ledger_one_end ON ledger (song_id) WHERE kind IN ('settle', 'refund');
CREATE INDEX ledger_of_member ON ledger (server_id, member_id, at, entry_id);
CREATE INDEX ledger_of_server ON ledger (server_id, at, entry_id);

-- Which lots an entry moved, so that a refund returns to where the credits came from.
CREATE TABLE ledger_parts (
    entry_id TEXT    NOT NULL REFERENCES ledger,
    lot_id   TEXT    NOT NULL REFERENCES lots,
    amount   INTEGER NOT NULL,
    PRIMARY KEY (entry_id, lot_id)
) STRICT, WITHOUT ROWID;

-- Credits given to a role, or taken from it: once from each member who is seen with it in time.
CREATE TABLE role_grants (
    role_grant_id INTEGER PRIMARY KEY, -- the id of the interaction that made it
    server_id     INTEGER NOT NULL REFERENCES servers,
    role_id       INTEGER NOT NULL,
    kind          TEXT    NOT NULL CHECK (kind IN ('grant', 'take')),
    amount        INTEGER NOT NULL CHECK (amount > 0),
    reason        TEXT,
    actor_id      INTEGER NOT NULL,
    at            INTEGER NOT NULL,
    ends_at       INTEGER NOT NULL,    -- whoever is seen later gets nothing
    expires_at    INTEGER,             -- of what is given
    CHECK (ends_at > at),
    CHECK (expires_at IS NULL OR (kind = 'grant' AND expires_at >= ends_at))
) STRICT;

CREATE INDEX role_grants_of_server ON role_grants (server_id, ends_at);

-- What a server's own budget counts: held and settled, less what was refunded.
CREATE TABLE server_periods (
    server_id INTEGER NOT NULL REFERENCES servers,
    period_at INTEGER NOT NULL,                    -- when the period began
    used      INTEGER NOT NULL CHECK (used >= 0),  -- credits; the sum over the ledger, kept
    warned    INTEGER NOT NULL DEFAULT 0           -- percent that the managers were notified of
              CHECK (warned IN (0, 80, 100)),
    PRIMARY KEY (server_id, period_at)
) STRICT, WITHOUT ROWID;

-- What the operator's budgets count: every submit that was, or may have been, accepted.
CREATE TABLE submits (
    day       INTEGER NOT NULL, -- when it began, in UTC
    server_id INTEGER NOT NULL, -- 0: all together
    songs     INTEGER NOT NULL CHECK (songs >= 0),
    credits   INTEGER NOT NULL CHECK (credits >= 0),
    PRIMARY KEY (day, server_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE operator_budgets (
    scope     TEXT    NOT NULL CHECK (scope IN ('all', 'each', 'server')),
    server_id INTEGER NOT NULL DEFAULT 0,
    credits   INTEGER CHECK (credits >= 0), -- a day in UTC; NULL: as many as there are
    songs     INTEGER CHECK (songs >= 0),
    PRIMARY KEY (scope, server_id),
    CHECK ((scope = 'server') = (server_id <> 0))
) STRICT, WITHOUT ROWID;

-- What the managers of a server decide. A setting that is not here is the default.
CREATE TABLE settings (
    server_id  INTEGER NOT NULL REFERENCES servers,
    about      TEXT    NOT NULL CHECK (about IN ('server', 'role', 'member')),
    subject_id INTEGER NOT NULL, -- the role or the member that it is about
    name       TEXT    NOT NULL, -- a key of services/settings/catalogue.py
    value      TEXT    NOT NULL, -- JSON
    PRIMARY KEY (server_id, about, subject_id, name),
    CHECK ((about = 'server') = (subject_id = 0))
) STRICT, WITHOUT ROWID;

-- How a server counts its periods, from a moment on; before the first, by days in UTC.
CREATE TABLE calendars (
    server_id INTEGER NOT NULL REFERENCES servers,
    from_at   INTEGER NOT NULL,
    every     TEXT    NOT NULL CHECK (every IN ('day', 'week', 'month')),
    hour      INTEGER NOT NULL CHECK (hour BETWEEN 0 AND 23),
    zone      TEXT    NOT NULL,
    PRIMARY KEY (server_id, from_at)
) STRICT, WITHOUT ROWID;

-- What was done by those who manage a server, and the warnings of its budget, in their order.
CREATE TABLE changes (
    server_id      INTEGER NOT NULL REFERENCES servers,
    number         INTEGER NOT NULL,
    name           TEXT    NOT NULL, -- a setting's, 'calendar', 'grant', 'take', 'reset', 'warning'
    subject_id     INTEGER NOT NULL DEFAULT 0,
    before         TEXT,             -- JSON; NULL: the default, or nothing
    after          TEXT,
    actor_id       INTEGER,          -- NULL: the bot itself, or its operator
    reason         TEXT,
    at             INTEGER NOT NULL,
    undoes         INTEGER,          -- the number of the change that it took back
    log_channel_id INTEGER,          -- where it is to be posted; NULL: nowhere
    logged_at      INTEGER,
    PRIMARY KEY (server_id, number),
    FOREIGN KEY (server_id, undoes) REFERENCES changes,
    CHECK (undoes < number),
    CHECK (logged_at IS NULL OR log_channel_id IS NOT NULL)
) STRICT, WITHOUT ROWID;

CREATE INDEX changes_to_log ON changes (at) WHERE log_channel_id IS NOT NULL AND logged_at IS NULL;

CREATE TABLE drafts (
    draft_id   INTEGER PRIMARY KEY, -- the id of the interaction that opened the form
    server_id  INTEGER NOT NULL,
    member_id  INTEGER NOT NULL,
    options    TEXT    NOT NULL,    -- JSON: what was typed beside the lyrics
    created_at INTEGER NOT NULL
) STRICT;

-- What the operator was notified of and has not fixed yet.
CREATE TABLE incidents (
    kind        TEXT    PRIMARY KEY,
    detail      TEXT    NOT NULL,
    opened_at   INTEGER NOT NULL,
    notified_at INTEGER
) STRICT;

-- What Discord was last given as this application's commands.
CREATE TABLE command_sets (
    application_id INTEGER PRIMARY KEY,
    digest         TEXT    NOT NULL
) STRICT;
