"""The released BrainLDM and VCM: what they are, and the way from their files to a folder."""
