"""The peer of overhead.py: a bare FastAPI application that reads a body and answers with the bytes of a file. Usage: echo.py FILE"""

import socket
import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response

REPLY = Path(sys.argv[1]).read_bytes()
app = FastAPI()


@app.post("/serper/search")
async def echo(request: Request) -> Response:
    await request.body()
    return Response(REPLY, media_type="application/json")


listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(2048)
print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False)).run([listener])
