"""The mutants: what is promised, and the smallest change that would break the promise."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """A change that breaks a guarantee. `old` stands exactly once in the file at `path`."""

    name: str
    guarantee: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...]

    def applied_to(self, text: str) -> str:
        """The file with the change.

        Raises:
            ValueError: `old` is not there, or several times: the code has moved on.
        """
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: {self.path} has its text {text.count(self.old)} times")
        return text.replace(self.old, self.new)


CREDITS = "services/credits/credits.py"
ENDING = "services/songs/completion.py"
SONGS = "db/songs.py"
BUDGETS = "services/credits/budgets.py"
GIVING = "services/credits/transfers.py"
POSTER = "services/songs/poster.py"

T_CREDITS = "tests/unit/services/credits/test_credits.py"
T_ENDING = "tests/unit/services/songs/test_completion.py"
T_SONGS = "tests/unit/services/songs/test_songs.py"
T_ADMISSION = "tests/unit/services/songs/test_admission.py"
T_BUDGETS = "tests/unit/services/credits/test_budgets.py"
T_GIVING = "tests/unit/services/credits/test_transfers.py"
T_WORKER = "tests/unit/services/songs/test_pipeline.py"
T_DELIVERY = "tests/unit/services/songs/test_delivery.py"
T_DB_SONGS = "tests/unit/db/test_songs.py"
T_RUNNER = "tests/unit/services/songs/test_scheduler.py"
T_CHECKING = "tests/unit/services/operations/test_consistency_check.py"

MUTANTS = (
    # --- Prices and holds
    Mutant(
        "price_rounds_up",
        "a begun part of a song's length costs a whole credit",
        "services/amounts.py",
        "math.ceil(seconds / self.seconds)",
        "(seconds // self.seconds)",
        ("tests/unit/services/test_amounts.py",),
    ),
    Mutant(
        "hold_needs_the_whole_price",
        "a song is refused where less than its price is free",
        CREDITS,
        "if free < song.price:",
        "if free < song.price - 1:",
        (T_CREDITS, T_SONGS),
    ),
    Mutant(
        "unlimited_members_pay_nothing",
        "an unlimited member's hold takes no credits",
        CREDITS,
        "amount = 0 if opened.unlimited else -song.price",
        "amount = -song.price",
        (T_CREDITS, T_SONGS),
    ),
    Mutant(
        "hold_takes_from_lots",
        "what an entry moves stands in its lots",
        CREDITS,
        "song, -amount, at=opened.at)",
        "song, 0, at=opened.at)",
        (T_CREDITS, T_SONGS),
    ),
    Mutant(
        "first_expiring_is_spent_first",
        "a song is paid from what expires first",
        CREDITS,
        "read = ledger.lasting_longest if longest_first else ledger.spendable",
        "read = ledger.lasting_longest",
        (T_CREDITS, T_SONGS),
    ),
    Mutant(
        "same_interaction_is_one_song",
        "an interaction that is delivered twice is one song, held once",
        "services/songs/songs.py",
        "if existing := await songs.get(connection, requester.interaction_id):",
        "if existing := None:",
        (T_SONGS,),
    ),
    Mutant(
        "numbers_are_never_reused",
        "each song of a server has a unique number",
        "db/servers.py",
        "SET last_number = last_number + 1",
        "SET last_number = max(last_number, 1)",
        (T_SONGS,),
    ),
    # --- Ends of songs
    Mutant(
        "completed_settles",
        "a song that was posted is settled in the transaction of its end",
        ENDING,
        "None if song.state is State.UNDELIVERED else self._credits.settle",
        "None",
        (T_ENDING, T_SONGS),
    ),
    Mutant(
        "undelivered_settles",
        "a song that was made and not posted is settled in the same transaction",
        ENDING,
        "None if again else self._credits.settle",
        "None",
        (T_ENDING, T_SONGS),
    ),
    Mutant(
        "failed_refunds",
        "a song that was not made is refunded in the transaction of its end",
        ENDING,
        "State.FAILED,\n            self._credits.refund,",
        "State.FAILED,\n            None,",
        (T_ENDING, T_SONGS),
    ),
    Mutant(
        "cancelled_refunds",
        "a cancelled song is refunded in the transaction of its end",
        ENDING,
        "song, State.CANCELLED, self._credits.refund, fault=fault)\n\n    async def hand_over",
        "song, State.CANCELLED, None, fault=fault)\n\n    async def hand_over",
        (T_ENDING, T_SONGS),
    ),
    Mutant(
        "only_waiting_songs_are_cancelled",
        "a song that may be at the API can't be cancelled for its price",
        "db/migrations/0010_baseline.sql",
        "('cancelled',   'waiting');",
        "('cancelled',   'waiting'), ('cancelled', 'submitting');",
        (T_ENDING, T_SONGS),
    ),
    Mutant(
        "late_end_changes_nothing",
        "a song that has ended is not ended again",
        SONGS,
        "AND state IN (SELECT from_state FROM song_transitions WHERE to_state = :state)",
        "",
        (T_ENDING, T_DB_SONGS),
    ),
    Mutant(
        "end_names_its_step",
        "an end that expects a state changes nothing where the song is in another",
        SONGS,
        "(:expected IS NULL OR state = :expected)",
        "(:expected IS NULL OR :expected)",
        (T_ENDING, T_DB_SONGS),
    ),
    Mutant(
        "posted_song_keeps_no_file",
        "only an undelivered song keeps its file",
        SONGS,
        "file = CASE :state WHEN 'undelivered' THEN file END",
        "file = file",
        (T_ENDING, T_DB_SONGS),
    ),
    Mutant(
        "cancelled_lyrics_are_dropped",
        "the lyrics of a cancelled song go at once",
        SONGS,
        "lyrics = CASE :state WHEN 'cancelled' THEN '' ELSE lyrics END,",
        "lyrics = lyrics,",
        (T_ENDING, T_SONGS),
    ),
    # --- Refunds
    Mutant(
        "refund_to_expired_lot_returns",
        "what has expired meanwhile returns until the end of the period",
        CREDITS,
        "        if late:\n",
        "        if False:\n",
        (T_CREDITS,),
    ),
    Mutant(
        "refund_leaves_expired_lots_alone",
        "a refund does not bring an expired lot to life",
        CREDITS,
        "if lot.expires_at is not None and lot.expires_at <= now:",
        "if False:",
        (T_CREDITS,),
    ),
    Mutant(
        "returned_credits_expire",
        "what returns late expires with the running period",
        CREDITS,
        'ends = f"return:{song.song_id}", timeline.period(now).end',
        'ends = f"return:{song.song_id}", None',
        (T_CREDITS,),
    ),
    Mutant(
        "refund_uncounts_budget",
        "what is refunded no longer counts in the server's budget",
        CREDITS,
        "_require(await budgets.uncount(connection, song.song_id), entry_id)",
        "pass",
        (T_CREDITS, T_BUDGETS),
    ),
    Mutant(
        "compensation_follows_its_claim",
        "a delivered song's price does not come back",
        ENDING,
        "if ended and entry is not None:",
        "if entry is not None:",
        (T_ENDING, T_DELIVERY),
    ),
    # --- AllowanceCommands, gifts, resets
    Mutant(
        "lower_allowance_takes_only_what_is_free",
        "a lower allowance takes nothing that is spent or held",
        CREDITS,
        "if by := max(0, credits - used) - lot.remaining:",
        "if by := credits - used - lot.remaining:",
        (T_CREDITS,),
    ),
    Mutant(
        "higher_allowance_counts_what_is_spent",
        "a higher allowance gives its difference, not the whole again",
        CREDITS,
        "if by := max(0, credits - used) - lot.remaining:",
        "if by := credits - lot.remaining:",
        (T_CREDITS,),
    ),
    Mutant(
        "gift_needs_the_whole_amount",
        "nobody gives more than is free",
        GIVING,
        "if balance.free < amount:",
        "if balance.free < amount - 1:",
        (T_GIVING,),
    ),
    Mutant(
        "gift_keeps_its_expiry",
        "given credits expire when they would have",
        GIVING,
        '{place}", lot.expires_at',
        '{place}", None',
        (T_GIVING,),
    ),
    Mutant(
        "same_gift_moves_once",
        "a gift that is delivered twice moves credits once",
        GIVING,
        "if await ledger.amount(connection, entry_id) is None:",
        "if True:",
        (T_GIVING,),
    ),
    Mutant(
        "reset_leaves_allowances",
        "a reset takes what was granted, never the allowance",
        GIVING,
        "granted_only=True)",
        "granted_only=False)",
        (T_GIVING,),
    ),
    Mutant(
        "role_grants_reach_members_of_the_role",
        "credits for a role reach its members alone",
        CREDITS,
        "if role_grant.role_id not in (member.roles or ()):",
        "if False:",
        (T_CREDITS, T_GIVING),
    ),
    # --- Budgets
    Mutant(
        "server_budget_refuses",
        "a server's budget is not exceeded within its period",
        "db/budgets.py",
        "WHERE :budget IS NULL OR used + :credits <= :budget",
        "WHERE :budget IS NULL OR used <= :budget",
        (T_BUDGETS, T_SONGS),
    ),
    Mutant(
        "operator_budget_counts_waiting_songs",
        "songs of a server that wait count before one more is accepted",
        BUDGETS,
        "Tally(ahead.songs + 1, ahead.credits + price)",
        "Tally(1, price)",
        (T_BUDGETS,),
    ),
    Mutant(
        "operator_budget_is_checked_at_the_submit",
        "no submit is made beyond the operator's budget",
        BUDGETS,
        """        if await self._exceeded(connection, server_id, song.price, day=day) is not None:
            return False""",
        "        pass",
        (T_BUDGETS,),
    ),
    Mutant(
        "refused_submit_is_uncounted",
        "a submit that was certainly not accepted costs no budget",
        BUDGETS,
        "        await self.uncount(connection, song, counted_at)\n",
        "",
        (T_BUDGETS,),
    ),
    Mutant(
        "budget_is_checked_when_a_song_is_picked",
        "a song that no budget has room for does not start",
        SONGS,
        "(coalesce(total.songs, 0) + 1 >",
        "(coalesce(total.songs, 0) >",
        ("tests/unit/db/test_budgets.py",),
    ),
    # --- Who may
    Mutant(
        "songs_elsewhere_count_for_refunds",
        "songs in progress in other servers count against the limit of refunds",
        "services/songs/admission.py",
        "if len(ends) + elsewhere >= limit:",
        "if len(ends) >= limit:",
        (T_ADMISSION,),
    ),
    Mutant(
        "cooldown_forgives_refunded_songs",
        "a refunded song starts no cooldown",
        SONGS,
        "AS latest WHERE state NOT IN ('failed', 'cancelled')",
        "AS latest",
        (T_ADMISSION, T_DB_SONGS),
    ),
    Mutant(
        "undelivered_goes_to_its_requester",
        "nobody gets the audio of somebody else's undelivered song",
        POSTER,
        "if song.member_id != member_id:",
        "if False:",
        (T_DELIVERY,),
    ),
    Mutant(
        "members_cancel_their_own",
        "a member does not cancel somebody else's song",
        "services/songs/songs.py",
        "if song.member_id != member_id and not manager:",
        "if False:",
        (T_SONGS,),
    ),
    # --- The pipeline
    Mutant(
        "two_submits_at_most",
        "a song is submitted twice at most",
        SONGS,
        "WHERE song_id = :song_id AND submits < 2",
        "WHERE song_id = :song_id",
        (T_DB_SONGS, T_WORKER),
    ),
    Mutant(
        "lost_answer_does_not_wait_again",
        "a song that may be at the API is not put back among those that can be cancelled",
        SONGS,
        "CASE submits WHEN 1 THEN 'waiting' ELSE 'submitting' END",
        "'waiting'",
        (T_DB_SONGS, T_WORKER),
    ),
    Mutant(
        "uncertain_post_is_searched",
        "what may have been posted is searched for before it is posted again",
        POSTER,
        "if not (inherited or song.in_doubt or song.state is State.POSTING):",
        "if not (inherited or song.in_doubt):",
        (T_WORKER,),
    ),
    Mutant(
        "inherited_post_is_searched",
        "a song that another process has left is searched for, also without a mark",
        POSTER,
        "if not (inherited or song.in_doubt or song.state is State.POSTING):",
        "if not (song.in_doubt or song.state is State.POSTING):",
        (T_WORKER,),
    ),
    Mutant(
        "late_post_is_marked_before",
        "a late post is marked before it is sent, so that a kill leaves a doubt",
        SONGS,
        "posting_at = ?, in_doubt = 1",
        "posting_at = ?, in_doubt = 0",
        (T_DELIVERY, T_DB_SONGS),
    ),
    Mutant(
        "handed_over_once",
        "a song that was handed over or posted is not handed over again",
        ENDING,
        "connection, song, State.COMPLETED, None, expected=State.UNDELIVERED",
        "connection, song, State.COMPLETED, None",
        (T_ENDING,),
    ),
    Mutant(
        "fair_order_between_servers",
        "no server's crowd keeps another server waiting",
        SONGS,
        "ORDER BY coalesce(servers.last_start_at, 0), coalesce(members.last_start_at, 0),",
        "ORDER BY coalesce(members.last_start_at, 0),",
        (T_DB_SONGS, T_RUNNER),
    ),
    Mutant(
        "check_finds_wrong_sums",
        "`bot.py check` finds a lot that its parts don't add up to",
        "db/checks.py",
        "WHERE remaining <> coalesce(parts.counted, 0)",
        "WHERE remaining < coalesce(parts.counted, 0)",
        (T_CHECKING,),
    ),
)
