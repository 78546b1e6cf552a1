"""What only `holdfast dev` starts: embedded servers, an OIDC issuer, a sample network."""
