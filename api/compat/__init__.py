"""Other services' ways of asking, over the same jobs: they translate, and keep nothing."""
