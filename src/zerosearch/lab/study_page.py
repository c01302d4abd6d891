"""stub"""
def write_page(data, out):
    import json
    (out / "study.json").write_text(json.dumps(data))
