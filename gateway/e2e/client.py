"""What the unmodified Python `openai` client must be able to do: client.py --base-url URL/v1 --api-key KEY --model MODEL

Prints one line per check and then `N passed, N failed`; ends with 1 when any failed. Checks marked "gateway" are skipped with
--engine, for a bare vLLM. Not part of `npm test`, which needs no Python: pip install openai
"""
import argparse
import asyncio
import inspect
import json
import sys
import traceback

import openai
from pydantic import BaseModel

CHECKS = []


def check(title, gateway=False):
    """Registers a check; `gateway` marks what a bare engine cannot do."""
    def register(function):
        CHECKS.append((title, gateway, function))
        return function
    return register


def hello(target, **more):
    return {"model": target.model, "messages": [{"role": "user", "content": "Hello there"}], "max_tokens": 8, "seed": 7} | more


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def expect_error(kind, status, code, target, call):
    """The call must raise this class; through the gateway every member of OpenAI's error object is there."""
    try:
        call()
    except kind as error:
        expect(error.status_code == status, f"status {error.status_code} instead of {status}")
        if target.gateway:
            expect(isinstance(error.body, dict) and set(error.body) == {"message", "type", "param", "code"}, f"shape of {error.body}")
            expect(error.body["code"] == code, f"code {error.body['code']} instead of {code}")
        return error
    raise AssertionError("the call should have been refused")


# --- chat ---

@check("chat answers with text, a finish reason and usage that adds up")
def chat(client, target):
    answer = client.chat.completions.create(**hello(target))
    expect(answer.choices[0].message.content, "text")
    expect(answer.choices[0].finish_reason in ("stop", "length"), "finish reason")
    expect(answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens, "usage")


@check("usage tells the cost and the call", gateway=True)
def cost(client, target):
    usage = client.chat.completions.create(**hello(target)).usage
    expect(usage.cost > 0, "cost")
    charged, held = int(usage.faregate["charged_nanousd"]), int(usage.faregate["held_nanousd"])
    expect(0 < charged <= held and round(usage.cost * 1e9) == charged, "charged, held and cost agree")


@check("n = 2 gives two choices")
def two_choices(client, target):
    answer = client.chat.completions.create(**hello(target, n=2, temperature=1))
    expect([choice.index for choice in answer.choices] == [0, 1], "indexes")


@check("log probabilities, one entry per token")
def logprobs(client, target):
    answer = client.chat.completions.create(**hello(target, logprobs=True, top_logprobs=2))
    expect(len(answer.choices[0].logprobs.content) == answer.usage.completion_tokens, "entries")


@check("a stop string ends the text")
def stop(client, target):
    answer = client.chat.completions.create(**hello(target, max_tokens=200, stop=["e", "a"]))
    expect(answer.choices[0].finish_reason == "stop" and "e" not in answer.choices[0].message.content, "stopped")


@check("the same seed gives the same text")
def seed(client, target):
    texts = [client.chat.completions.create(**hello(target, temperature=1)).choices[0].message.content for _ in range(2)]
    expect(texts[0] == texts[1], texts)


@check("a pydantic schema is kept and parsed")
def schema(client, target):
    class Pick(BaseModel):
        ok: bool

    answer = client.chat.completions.parse(**hello(target, max_tokens=60), response_format=Pick)
    expect(isinstance(answer.choices[0].message.parsed, Pick), "parsed")


WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "Weather of a city", "strict": True, "parameters": {
    "type": "object", "properties": {"city": {"type": "string", "enum": ["Oslo", "Lima"]}}, "required": ["city"], "additionalProperties": False}}}


@check("a demanded tool is called with arguments of its schema")
def tool(client, target):
    answer = client.chat.completions.create(**hello(target, max_tokens=100, tools=[WEATHER], tool_choice="required"))
    call = answer.choices[0].message.tool_calls[0].function
    expect(call.name == "get_weather" and json.loads(call.arguments)["city"] in ("Oslo", "Lima"), call)


@check("extra_body carries vLLM's own fields")
def extra_body(client, target):
    answer = client.chat.completions.create(**hello(target), extra_body={"structured_outputs": {"choice": ["yes", "no"]}})
    expect(answer.choices[0].message.content in ("yes", "no"), answer.choices[0].message.content)


# --- streams ---

@check("a stream assembles to the whole answer and has no usage unless asked")
def stream(client, target):
    whole = client.chat.completions.create(**hello(target, max_tokens=24)).choices[0].message.content
    chunks = list(client.chat.completions.create(**hello(target, max_tokens=24), stream=True))
    expect("".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole, "text")
    expect(all(chunk.usage is None for chunk in chunks), "no usage")


@check("include_usage gives exactly one usage chunk, the last")
def stream_usage(client, target):
    chunks = list(client.chat.completions.create(**hello(target), stream=True, stream_options={"include_usage": True}))
    expect(sum(chunk.usage is not None for chunk in chunks) == 1, "one usage")
    expect(chunks[-1].choices == [] and chunks[-1].usage.total_tokens > 0, "last")
    if target.gateway:
        expect(chunks[-1].usage.cost > 0, "cost")


@check("the streaming helper finishes")
def stream_helper(client, target):
    with client.chat.completions.stream(**hello(target, max_tokens=200, stop=["e", "a"])) as events:
        expect(events.get_final_completion().choices[0].finish_reason == "stop", "finish reason")


@check("leaving a stream early leaves the server well")
def abort(client, target):
    with client.chat.completions.create(**hello(target, max_tokens=800), stream=True) as chunks:
        for seen, _ in enumerate(chunks):
            if seen == 5:
                break
    chat(client, target)


@check("the async client streams")
async def async_stream(client, target):
    async with openai.AsyncOpenAI(base_url=target.base_url, api_key=target.api_key, max_retries=0) as own:
        chunks = [chunk async for chunk in await own.chat.completions.create(**hello(target), stream=True)]
    expect(chunks[-1].choices[0].finish_reason, "finish reason")


# --- other endpoints ---

@check("completions, whole and streamed, say the same")
def completions(client, target):
    request = {"model": target.model, "prompt": "Hello there", "max_tokens": 8, "seed": 7}
    whole = client.completions.create(**request).choices[0].text
    streamed = "".join(chunk.choices[0].text for chunk in client.completions.create(**request, stream=True))
    expect(whole and whole == streamed, (whole, streamed))


@check("embeddings as base64, as floats and in lists agree")
def embeddings(client, target):
    own = client.with_options(base_url=target.embedding_base_url or target.base_url)
    decoded = own.embeddings.create(model=target.embedding_model, input=["Hello", "Bye"])
    floats = own.embeddings.create(model=target.embedding_model, input="Hello", encoding_format="float")
    expect([item.index for item in decoded.data] == [0, 1], "order")
    difference = max(abs(a - b) for a, b in zip(decoded.data[0].embedding, floats.data[0].embedding, strict=True))
    expect(difference < 1e-3, f"difference {difference}")


@check("models are listed")
def models(client, target):
    expect(target.model in [model.id for model in client.models.list()], "the model is in the list")


@check("a model is retrieved", gateway=True)
def model(client, target):
    expect(client.models.retrieve(target.model).id == target.model, "id")


# --- errors ---

@check("401 raises AuthenticationError")
def unauthenticated(client, target):
    stranger = client.with_options(api_key="nope")
    expect_error(openai.AuthenticationError, 401, "invalid_api_key", target, lambda: stranger.chat.completions.create(**hello(target)))


@check("404 raises NotFoundError for an unknown model")
def unknown_model(client, target):
    expect_error(openai.NotFoundError, 404, "model_not_found", target, lambda: client.chat.completions.create(**hello(target, model="nope")))


@check("400 raises BadRequestError and names the field")
def bad_request(client, target):
    error = expect_error(openai.BadRequestError, 400, "invalid_request", target, lambda: client.chat.completions.create(**hello(target, temperature=3)))
    expect(error.param == "temperature", error.param)


@check("400 raises BadRequestError before a stream begins")
def bad_stream(client, target):
    expect_error(openai.BadRequestError, 400, "invalid_request", target,
                 lambda: client.chat.completions.create(**hello(target, temperature=3), stream=True))


@check("400 context_length_exceeded for a prompt longer than the context")
def too_long(client, target):
    words = [{"role": "user", "content": "one two three four five six " * 5000}]
    expect_error(openai.BadRequestError, 400, "context_length_exceeded", target, lambda: client.chat.completions.create(**hello(target, messages=words)))


@check("402 insufficient_balance without money", gateway=True)
def unpaid(client, target):
    if target.poor_key is None:
        return "no --poor-key"
    poor = client.with_options(api_key=target.poor_key)
    expect_error(openai.APIStatusError, 402, "insufficient_balance", target, lambda: poor.chat.completions.create(**hello(target)))


@check("429 raises RateLimitError", gateway=True)
def limited(client, target):
    if target.limited_key is None:
        return "no --limited-key"
    hasty = client.with_options(api_key=target.limited_key)
    expect_error(openai.RateLimitError, 429, "rate_limited", target,
                 lambda: [hasty.chat.completions.create(**hello(target)) for _ in range(20)])


def read_target():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base-url", required=True, help="ends in /v1")
    parser.add_argument("--api-key", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--embedding-model", help="without it embeddings are skipped")
    parser.add_argument("--embedding-base-url", help="where the embedding model is, if elsewhere")
    parser.add_argument("--poor-key", help="key of an account without money")
    parser.add_argument("--limited-key", help="key that may make a few calls a minute")
    parser.add_argument("--engine", dest="gateway", action="store_false", help="the target is a bare vLLM")
    return parser.parse_args()


def run(function, client, target):
    """The reason why the check was skipped, or None; raises when it failed."""
    if function is embeddings and target.embedding_model is None:
        return "no --embedding-model"
    result = function(client, target)
    return asyncio.run(result) if inspect.iscoroutine(result) else result


def main():
    target = read_target()
    client = openai.OpenAI(base_url=target.base_url, api_key=target.api_key, max_retries=0)
    passed = failed = 0
    for title, gateway, function in CHECKS:
        if gateway and not target.gateway:
            continue
        try:
            skipped = run(function, client, target)
            passed += skipped is None
            print(f"skip  {title}: {skipped}" if skipped else f"ok    {title}", flush=True)
        except Exception as error:  # every failure is a line, and the next check runs
            failed += 1
            print(f"FAIL  {title}: {type(error).__name__}: {error} (line {traceback.extract_tb(error.__traceback__)[-1].lineno})", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
