"""The oracle: the same application on PostgreSQL alone, slow but simple enough to be obviously correct.

It keeps holds in the same rows and decides under row locks, by the database's own clock, without epochs,
fencing tokens, scripts or memos. The real application must give the same answers.

Not here: changes of a flight's times or classes while it is being sold, and more than one booking in
one transaction.
"""
