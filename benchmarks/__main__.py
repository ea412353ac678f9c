"""`python -m benchmarks`: everything that is measured, as Markdown. About 5 min on 2 idle cores.

Figures are ratios within one run wherever a goal depends on them: machines differ.
"""

from benchmarks import acknowledgement, audio, in_flight, large_songs, pacing, picture, spending


def main() -> None:
    """Print each section in turn."""
    pacing.main()
    print("\n## Transcoding\n")
    audio.main()
    print()
    acknowledgement.main()
    print()
    in_flight.main()
    print()
    large_songs.main()
    print()
    spending.main()
    print()
    picture.main()


if __name__ == "__main__":
    main()
