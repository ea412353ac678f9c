"""Song APIs: what is sent to one, how often it is called, and downloads that are safe."""
