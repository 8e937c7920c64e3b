"""Sign-in with an OpenID Connect issuer."""
