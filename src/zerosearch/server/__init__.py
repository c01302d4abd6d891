"""Any of our search engines as a server that speaks every search API's dialect.

gateway.py    a request comes in: its dialect, caller and content; a reply goes out in the same dialect
dialects.py   the table: how each dialect's request is read, how documents and errors are written
service.py    searches → documents: the noise rate, sessions, faults, the bounded queue
app.py        the rest of the HTTP: sessions, steps, health, metrics, the page    run.py  ports, signals, uvicorn
"""
