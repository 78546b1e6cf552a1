"""Rules of the repository itself: words, paths, names, documents and layers."""
