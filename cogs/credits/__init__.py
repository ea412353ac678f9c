"""Credits: `/credits`, `/gift`, `/leaderboard`, and the transfers of `/quota`."""
