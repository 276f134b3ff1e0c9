"""The demo: player and perception node as processes of their own, a recorder that draws what they send."""
