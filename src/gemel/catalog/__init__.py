"""The catalog: every kind of every wing in one place, and the rules by which documents are admitted."""
