"""The builders that come with vcmaug, one file each."""
