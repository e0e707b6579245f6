"""Everything durable: SQLAlchemy Core on SQLite or PostgreSQL, and the files of images."""
