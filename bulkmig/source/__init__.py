"""FROM: the Onboarding Portal, only ever read, in one exported snapshot."""
