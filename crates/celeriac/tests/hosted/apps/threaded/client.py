import json

from threaded import double, threads

results = [double.delay(number) for number in range(200)]
told = {"results": [result.get(timeout=60) for result in results], "threads": threads.delay().get(timeout=60)}
print(json.dumps(told))
