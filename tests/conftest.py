"""What all tests share: hypothesis without deadlines, since tests do not time anything."""

from hypothesis import settings

settings.register_profile("vcmaug", deadline=None, max_examples=50)
settings.load_profile("vcmaug")
