"""Our losses inside other libraries' trainers."""
