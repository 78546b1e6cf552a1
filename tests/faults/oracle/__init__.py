"""The same program with Postgres alone: slow, simple, and easy to believe.

It keeps holds in the same rows, decides under row locks by the database's own clock, and knows nothing
of epochs, fences, scripts or memos. Whatever it answers, the real program has to answer too.

Not here: changes of a flight's times or classes while it is being sold, and more than one booking in
one transaction.
"""
