"""What `holdfast dev` starts: embedded servers, issuer and sample network."""
