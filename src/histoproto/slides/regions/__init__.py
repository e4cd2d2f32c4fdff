"""What a person drew on a slide: reading it, and which pixels lie inside."""
