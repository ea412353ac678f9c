"""Chords by genre: for the verse, the chorus and the bridge, each with its choices."""

from playground.composer.genres.family import Progressions

POP = Progressions(
    ("I V vi IV", "I vi IV V", "vi IV I V", "I iii IV V", "Iadd9 V IVadd9 IVadd9"),
    ("IV V iii vi IV V I I", "I V vi IV", "IV I V vi", "vi IV I V"),
    ("vi iii IV I vi iii IV V", "ii IV vi V", "IV iv I V"),
)
POP_MINOR = Progressions(
    ("i bVI bIII bVII", "i bVII bVI bVII", "i iv bVI V", "i bIII bVII iv"),
    ("bVI bVII i bIII", "bVI bIII bVII i", "i bVI bIII bVII"),
    ("iv i bVI V", "bVI bVII i i iv bVI V V"),
)
SOUL = Progressions(
    ("Imaj9 vi9 ii9 V9sus", "Imaj7 iii7 IVmaj7 V9sus", "ii9 V9sus Imaj9 vi9"),
    ("IVmaj7 iii7 ii7 Imaj7", "IVmaj7 V7 iii7 vi7 ii7 V9sus Imaj9 I7", "Imaj9 I7 IVmaj7 iv6"),
    ("vi7 II9 ii7 V9sus", "IVmaj7 iv6 iii7 VI7 ii7 ii7 V9sus V7"),
)
SOUL_MINOR = Progressions(
    ("i9 iv9 i9 v7", "i9 bVImaj7 iv9 v7", "i9 IV9 i9 IV9"),
    ("bVImaj7 bVII i9 i9", "iv9 bVII9 bIIImaj7 bVImaj7 ii% V7 i9 i9"),
    ("iv9 v7 bVImaj7 V7", "bVImaj7 v7 iv9 V7"),
)
FUNK = Progressions(
    ("I9 I9 IV9 I9", "ii9 V9 ii9 V9", "I9 IV9 I9 V9sus"),
    ("IV9 V9sus iii7 vi7", "I9 bVII9 IV9 I9", "vi7 ii9 V9sus I9"),
    ("bVII9 bVII9 IV9 V9sus", "ii7 iii7 IV9 V9sus"),
)
FUNK_MINOR = Progressions(
    ("i9 i9 iv9 i9", "i9 IV9 i9 IV9"),
    ("iv9 bVII9 i9 i9", "bVImaj7 bVII9 i9 i9", "bVImaj7 v7 iv9 i9"),
    ("iv9 iv9 bVII9 V7", "bVImaj7 bVImaj7 bVII9 V7"),
)
ROCK = Progressions(
    ("I bVII IV I", "I IV V IV", "vi IV I V", "I V IV IV"),
    ("I V vi IV", "IV I V vi", "I IV bVII IV", "IV V I vi"),
    ("vi V IV V", "bVI bVII I I", "ii IV bVII V"),
)
ROCK_MINOR = Progressions(
    ("i bVII bVI bVII", "i bIII bVII IV", "i i bVI bVII"),
    ("bVI bIII bVII i", "i bVI bIII bVII", "bVI bVII i i"),
    ("iv bVI bVII V", "bVI bVI bVII bVII"),
)
METAL = Progressions(
    ("i i bVI bVII", "i bII i bVII", "i i bIII bII"),
    ("bVI bVII i i", "i bVI bIII bVII", "i bVI iv V"),
    ("iv iv bVI V", "bII bII i i bVI bVI V V"),
)
JAZZ = Progressions(
    (
        "Imaj9 vi7 ii9 V9",
        "ii9 V9 Imaj9 VI7",
        "Imaj7+vi7 ii9+V9 iii7+VI7 ii9+V9",
        "Imaj7 IVmaj7 iii7+VI7 ii9+V9",
    ),
    ("IVmaj7 iv7+bVII9 iii7 VI7 ii9 V9 Imaj9 ii9+V9", "ii9 V9 iii7 VI7 ii9 V9sus Imaj9 Imaj9"),
    ("III7 III7 VI7 VI7 II9 II9 ii9 V9", "v7 I9 IVmaj7 IVmaj7 vi7 II9 ii9 V9"),
)
JAZZ_MINOR = Progressions(
    ("i9 iv9 ii% V7", "i9 bVImaj7 ii% V7", "i9+i9 ii%+V7 i9 ii%+V7"),
    ("iv9 bVII9 bIIImaj7 bVImaj7 ii% V7 i9 i9", "bVImaj7 V7 i9 iv9 ii% V7 i9 V7"),
    ("iv9 iv9 i9 i9 II9 II9 ii% V7", "bIIImaj7 bVImaj7 ii% V7"),
)
_BLUES_BARS = ("I7 IV7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 V7", "I7 I7 I7 I7 IV7 IV7 I7 I7 V9 IV9 I7 V7")
BLUES = Progressions(_BLUES_BARS, _BLUES_BARS, ("IV7 IV7 I7 I7 IV7 IV7 II7 V7",))
_BLUES_MINOR_BARS = (
    "i7 i7 i7 i7 iv7 iv7 i7 i7 bVI7 V7 i7 V7",
    "i7 iv7 i7 i7 iv7 iv7 i7 i7 v7 iv7 i7 V7",
)
BLUES_MINOR = Progressions(_BLUES_MINOR_BARS, _BLUES_MINOR_BARS, ("iv7 iv7 i7 i7 iv7 iv7 bVI7 V7",))
LOFI = Progressions(
    ("ii9 V9 Imaj9 vi9", "IVmaj9 iii7 vi9 Imaj9", "Imaj9 iii7 IVmaj9 iv6"),
    ("IVmaj9 V9sus iii7 vi9", "IVmaj9 iv6 Imaj9 VI7"),
    ("vi9 ii9 IVmaj9 V9sus", "IVmaj9 IVmaj9 iii7 VI7"),
)
LOFI_MINOR = Progressions(
    ("i9 bVImaj7 iv9 v7", "iv9 bVII9 bIIImaj9 bVImaj7"),
    ("bVImaj9 v7 i9 i9", "iv9 v7 bVImaj9 bVII9"),
    ("bVImaj9 bVImaj9 v7 V7", "iv9 iv9 bVImaj9 V7"),
)
HIP_HOP = Progressions(
    ("vi IV iii7 vi", "Imaj7 iii7 vi7 IVmaj7"), ("IV V vi vi", "vi IV I V"), ("ii7 iii7 IV V",)
)
HIP_HOP_MINOR = Progressions(
    ("i i bVI V", "i bVI iv v", "i iv i bVII"),
    ("bVI bVII i i", "i bVI bIII bVII", "iv bVI i V"),
    ("bVI bVI iv V", "iv v bVI bVII"),
)
DANCE = Progressions(
    ("I V vi IV", "vi IV I V", "IVmaj7 V vi7 iii7"),
    ("vi IV I V", "IV V vi I", "IV I V vi"),
    ("ii vi IV V", "IV IV V V"),
)
DANCE_MINOR = Progressions(
    ("i bVI bIII bVII", "i7 bVImaj7 bVII v7", "i iv bVI bVII"),
    ("bVI bVII i bIII", "bVI bIII bVII i", "i bVI iv bVII"),
    ("iv bVI bVII bVII", "bVI bVI bVII V"),
)
TECHNO = Progressions(
    ("i i i i", "i7 i7 bVII bVII", "i i iv7 i"),
    ("i i bVI bVI", "i i bII i", "i7 bIII iv7 bVII"),
    ("bVI bVI bVII bVII", "iv7 iv7 i i"),
)
AMBIENT = Progressions(
    ("Iadd9 Iadd9 IVmaj9 IVmaj9", "Imaj9 vi9 IVmaj9 Vsus", "Iadd9 iii7 IVmaj9 IVmaj9"),
    ("IVmaj9 Imaj9 vi9 Vsus", "IVmaj9 IVmaj9 vi9 Iadd9"),
    ("vi9 iii7 IVmaj9 Vsus", "ii9 IVmaj9 vi9 Vsus"),
)
AMBIENT_MINOR = Progressions(
    ("iadd9 iadd9 bVImaj7 bVImaj7", "iadd9 bIIImaj7 bVImaj7 bVII", "i9 iv9 bVImaj7 v7"),
    ("bVImaj7 bVII iadd9 bIIImaj7", "iv9 bVImaj7 iadd9 v7"),
    ("iv9 iv9 bVImaj7 v7", "bIIImaj7 bVII iv9 v7"),
)
CLASSICAL = Progressions(
    ("I V vi iii IV I IV V", "I IV V I vi ii V7 I", "I V7 I vi ii V7 I V"),
    ("IV I V7 I IV I ii+V7 I", "I vi IV V7 iii vi ii V7", "I IV ii V7 vi IV ii+V7 I"),
    ("vi III7 vi IV ii II7 V V7", "vi ii V I IV viio III7 V7"),
)
CLASSICAL_MINOR = Progressions(
    ("i iv V7 i bVI ii% V7 i", "i V7 i iv bVI iv V V7", "i bVII bVI V7 i iv V7 i"),
    ("iv bVII bIII bVI ii% V7 i i", "bVI bIII iv i ii% V7 i V7"),
    ("bIII bVII iv bVI ii% ii% V V7", "bVI bIII iv V7"),
)
FOLK = Progressions(
    ("I IV I V", "I V vi IV", "I iii IV I", "I IV V I"),
    ("IV I V vi", "IV V I vi IV V I I", "I IV I V I IV V I"),
    ("vi iii IV I ii IV V V", "ii IV I V"),
)
FOLK_MINOR = Progressions(
    ("i bVII i bVII", "i bIII bVII i", "i iv i V"),
    ("bIII bVII i i", "bVI bVII i bVII", "bVI bIII bVII i"),
    ("iv i iv V", "bVI bIII iv V"),
)
REGGAE = Progressions(
    ("I IV I V", "I V vi IV", "I ii I ii", "I IV V IV"),
    ("IV I V I", "I iii IV V", "vi IV I V"),
    ("vi ii vi V", "ii IV ii V"),
)
REGGAE_MINOR = Progressions(
    ("i iv i iv", "i bVII i bVII", "i7 iv7 i7 v7"),
    ("bVI bVII i i", "iv bVII bIII bVI", "bVI v7 i i"),
    ("iv iv i V", "bVI bVI bVII V"),
)
LATIN = Progressions(
    ("I IV V IV", "ii7 V7 Imaj7 VI7", "I vi ii7 V7"),
    ("ii7 V7 I I", "IV V I VI7 ii7 V7 I I", "I I V7 V7 V7 V7 I I"),
    ("vi II7 ii7 V7", "IV iv6 iii7+VI7 ii7+V7"),
)
LATIN_MINOR = Progressions(
    ("i iv V7 i", "i bVII bVI V7", "i7 i7 iv7 V7"),
    ("iv7 bVII7 bIII bVI ii% V7 i i", "i iv bVII bIII bVI ii% V7 i"),
    ("iv i V7 i", "bVI bVI V7 V7"),
)
BOSSA = Progressions(
    ("Imaj9 II9 ii9 V9", "Imaj9 Imaj9 II9 II9 ii9 V9 Imaj9 V9", "Imaj7 VI7 ii9 V9"),
    ("IVmaj7 iv6 iii7 VI7 ii9 V9 Imaj9 Imaj9", "ii9 V9 iii7 VI7"),
    ("bVIImaj7 bVIImaj7 III7 III7 VI7 II9 ii9 V9", "vi9 II9 ii9 V9"),
)
GOSPEL = Progressions(
    ("I I7 IV iv6", "I III7 vi I7 IV V9sus I V7", "I IV I V9sus"),
    ("IV V9sus iii7 vi7 ii7 V9sus I I7", "IV I III7 vi II7 V9sus I I7"),
    ("vi III7 vi II7 IV IV V9sus V7", "IV iv6 I VI7 II7 II7 V9sus V7"),
)
KIDS = Progressions(
    ("I I IV I", "I V7 I V7", "I IV I V7"),
    ("IV I V7 I", "I IV V7 I"),
    ("vi ii V7 V7", "IV I II7 V7"),
)
CINEMATIC = Progressions(
    ("I V vi IV", "I bVI bVII I", "vi IV I V"),
    ("vi IV I V", "IV V vi I", "I bVI IV I"),
    ("ii vi IV V", "bVI bVII I V"),
)
CINEMATIC_MINOR = Progressions(
    ("i bVI bIII bVII", "i bVII bVI bVI", "i iv bVI V"),
    ("bVI bVII i i", "i bVI bIII bVII", "bVI bIII bVII i"),
    ("iv bVI i V", "bVI bVI bVII V"),
)
