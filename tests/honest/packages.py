"""Popular packages, each with a small use of what it is popular for. Read by the tests; run in boxes."""

SETS: dict[str, dict[str, str]] = {
    "numbers": {
        "numpy": "import numpy as np; assert (np.ones((300, 300)) @ np.ones((300, 300)))[0, 0] == 300",
        "pandas": "import pandas as pd; assert pd.DataFrame({'a': [1, 2, 3]}).groupby('a').size().sum() == 3",
        "scipy": "from scipy import linalg; assert abs(linalg.det([[1, 2], [3, 4]]) + 2) < 1e-9",
        "matplotlib": (
            "import matplotlib; matplotlib.use('Agg'); import matplotlib.pyplot as plt; plt.plot([1, 2]); "
            "plt.savefig('output/plot.png'); import os; assert os.path.getsize('output/plot.png') > 1000"
        ),
        "networkx": "import networkx as nx; assert nx.shortest_path_length(nx.path_graph(5), 0, 4) == 4",
        "polars": "import polars as pl; assert pl.DataFrame({'a': [1, 2]})['a'].sum() == 3",
    },
    "web": {
        "requests": (
            "import requests\ntry: requests.get('http://192.0.2.1', timeout=5)\n"
            "except requests.exceptions.ConnectionError: pass\nelse: raise AssertionError"
        ),
        "httpx": "import httpx; assert httpx.Request('GET', 'https://example.org/a?b=1').url.query == b'b=1'",
        "aiohttp": (
            "import asyncio, aiohttp, aiohttp.web as web\n"
            "async def main():\n"
            "    app = web.Application(); app.router.add_get('/', lambda r: asyncio.sleep(0, "
            "web.Response(text='hi')))\n"
            "    runner = web.AppRunner(app); await runner.setup(); await web.TCPSite(runner, "
            "'127.0.0.1', 8080).start()\n"
            "    async with aiohttp.ClientSession() as s, s.get('http://127.0.0.1:8080/') as r: "
            "assert await r.text() == 'hi'\n"
            "    await runner.cleanup()\n"
            "asyncio.run(main())"
        ),
        "flask": "import flask; app = flask.Flask('x'); app.route('/')(lambda: 'hi'); "
        "assert app.test_client().get('/').data == b'hi'",
        "fastapi": (
            "import fastapi; app = fastapi.FastAPI(); app.get('/')(lambda: 1); assert '/' in app.openapi()['paths']"
        ),
        "django": "import django; from django.conf import settings; settings.configure(); django.setup(); "
        "from django.utils.text import slugify; assert slugify('A b') == 'a-b'",
        "beautifulsoup4": "from bs4 import BeautifulSoup as B; assert B('<p>hi</p>', 'html.parser').p.text == 'hi'",
        "lxml": "from lxml import etree; assert etree.fromstring('<a><b/></a>').find('b') is not None",
        "websockets": (
            "import asyncio, websockets\n"
            "async def main():\n"
            "    async def echo(ws): await ws.send(await ws.recv())\n"
            "    async with websockets.serve(echo, '127.0.0.1', 8765), "
            "websockets.connect('ws://127.0.0.1:8765') as c:\n"
            "        await c.send('hi'); assert await c.recv() == 'hi'\n"
            "asyncio.run(main())"
        ),
        "jinja2": "import jinja2; assert jinja2.Template('{{ a }}').render(a=1) == '1'",
        "certifi": "import certifi, ssl; assert ssl.create_default_context(cafile=certifi.where()).get_ca_certs()",
    },
    "documents": {
        "pillow": "from PIL import Image; Image.new('RGB', (64, 64), 'red').save('output/a.jpg')",
        "openpyxl": "import openpyxl; w = openpyxl.Workbook(); w.active['A1'] = 1; w.save('a.xlsx'); "
        "assert openpyxl.load_workbook('a.xlsx').active['A1'].value == 1",
        "pypdf": "import pypdf; w = pypdf.PdfWriter(); w.add_blank_page(100, 100); w.write('a.pdf'); "
        "assert len(pypdf.PdfReader('a.pdf').pages) == 1",
        "reportlab": (
            "from reportlab.pdfgen import canvas; c = canvas.Canvas('a.pdf'); c.drawString(9, 9, 'hi'); c.save()"
        ),
        "python-docx": "import docx; d = docx.Document(); d.add_paragraph('hi'); d.save('a.docx')",
        "pyyaml": "import yaml; assert yaml.safe_load(yaml.safe_dump({'a': [1]})) == {'a': [1]}",
        "markdown": "import markdown; assert markdown.markdown('*a*') == '<p><em>a</em></p>'",
        "pygments": "from pygments import highlight, lexers, formatters as f; "
        "assert 'a' in highlight('a = 1', lexers.PythonLexer(), f.HtmlFormatter())",
        "chardet": "import chardet; assert chardet.detect('größer als äußerst'.encode())['encoding'] == 'utf-8'",
        "rich": "import rich.table, rich.console; rich.console.Console().print(rich.table.Table(title='hi'))",
        "tqdm": "import tqdm; assert sum(tqdm.tqdm(range(10))) == 45",
    },
    "foundations": {
        "cryptography": "from cryptography.fernet import Fernet as F; f = F(F.generate_key()); "
        "assert f.decrypt(f.encrypt(b'a')) == b'a'",
        "pyjwt": (
            "import jwt; t = jwt.encode({'a': 1}, 'k' * 32, 'HS256'); "
            "assert jwt.decode(t, 'k' * 32, ['HS256'])['a'] == 1"
        ),
        "pydantic": "import pydantic; M = pydantic.create_model('M', a=(int, ...)); assert M(a='1').a == 1",
        "attrs": "import attrs; C = attrs.make_class('C', ['a']); assert attrs.asdict(C(1)) == {'a': 1}",
        "sqlalchemy": "import sqlalchemy as sa; e = sa.create_engine('sqlite://'); "
        "assert e.connect().execute(sa.text('select 1')).scalar() == 1",
        "psutil": "import psutil; p = psutil.Process(); assert p.memory_info().rss > 0 and psutil.cpu_count() "
        "and psutil.virtual_memory().total and p.open_files() == [] and p.num_threads() == 1 and p.cmdline()",
        "click": "import click; from click.testing import CliRunner as R; "
        "c = click.command()(lambda: click.echo('hi')); "
        "assert R().invoke(c).output == 'hi\\n'",
        "python-dateutil": "from dateutil import tz, parser; assert parser.parse('2024-01-02').year == 2024; "
        "assert tz.gettz('Europe/Berlin')",
        "tzdata": "import zoneinfo; assert zoneinfo.ZoneInfo('Asia/Tokyo').utcoffset(None) is None",
        "orjson": "import orjson; assert orjson.loads(orjson.dumps({'a': 1.5})) == {'a': 1.5}",
        "msgpack": "import msgpack; assert msgpack.unpackb(msgpack.packb([1])) == [1]",
        "regex": "import regex; assert regex.findall(r'\\p{L}', 'aé1') == ['a', 'é']",
        "greenlet": "import greenlet; g = greenlet.greenlet(lambda: 42); assert g.switch() == 42",
        "joblib": "from joblib import Parallel, delayed; "
        "assert Parallel(n_jobs=2, backend='threading')(delayed(abs)(-n) for n in (1, 2)) == [1, 2]",
        "cffi": "import cffi; f = cffi.FFI(); f.cdef('int abs(int);'); assert f.dlopen(None).abs(-3) == 3",
        "structlog": "import structlog; structlog.get_logger().info('hi', a=1)",
        "tenacity": "import tenacity; assert tenacity.retry(lambda: 1)() == 1",
    },
}
"""Distributions by environment, with a script each; what a script asserts is its use."""
