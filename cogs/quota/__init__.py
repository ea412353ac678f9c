"""/quota: for those who manage a server. One file for each thing that they do."""
