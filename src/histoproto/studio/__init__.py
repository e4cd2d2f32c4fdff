"""The studio: label tiles of slides in a browser, learn within seconds, look at the map, correct it, and go on.

Everything but `server.py` and `page/` works without a browser; `project.py` is the way in.
"""
