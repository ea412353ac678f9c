"""How a song gets made: the song API, its pace, the audio, and who carries a song when."""
