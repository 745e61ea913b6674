"""The retrain walk's steps with settings applied, from a counted training to the champion, and whether it is time to walk again."""
