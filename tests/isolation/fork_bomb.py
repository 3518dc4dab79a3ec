# %%
print("before the bomb")

# %%
import os
import time

for _ in range(3000):
    try:
        if os.fork() == 0:
            time.sleep(600)
            os._exit(0)
    except OSError:
        time.sleep(0.01)
time.sleep(600)
