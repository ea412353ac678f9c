-- Why a song was not made decides who pays for asking again and again: a member may cancel, and have
-- songs fail for what they requested, only so often in an hour. Lyrics of what was cancelled are
-- nobody's business any more; of what failed they stay for a day, so that it can be tried again.

UPDATE songs SET lyrics = '' WHERE status = 'CANCELLED';

ALTER TABLE songs ADD COLUMN fault TEXT -- NULL: made, not over, or ended before this was recorded
    CHECK (fault IS NULL OR CASE status
               WHEN 'CANCELLED' THEN fault IN ('member', 'server')
               WHEN 'FAILED' THEN fault IN ('request', 'service', 'account', 'machine')
               ELSE 0 END)
    CHECK (status <> 'CANCELLED' OR lyrics = '');

CREATE INDEX songs_refunded_by_choice ON songs (member_id, ended_at)
    WHERE fault IN ('member', 'request');
CREATE INDEX songs_failed_with_lyrics ON songs (ended_at) WHERE status = 'FAILED' AND lyrics <> '';
