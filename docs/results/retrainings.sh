# The retrainings of docs/results.md, each alone. `make boost EXPERIMENT=NAME` runs them with their judging.

# ResNet-20 on CIFAR-10
eden retrain benchmarks/boost/recipes/int8.toml --out out/boost/runs/resnet20/int8
eden retrain benchmarks/boost/recipes/int8.toml --out out/boost/runs/resnet20/int8-one --set 'curriculum.chips="one"' --set 'curriculum.target_ber=0.005' --set 'boost.epochs=4'
eden retrain benchmarks/boost/recipes/int8.toml --out out/boost/runs/resnet20/int8-one-mixed --set 'curriculum.chips="one"' --set 'curriculum.target_ber=0.005' --set 'boost.epochs=3' --set 'curriculum.floor_ber=0.0001' --set 'curriculum.clean_share=0.2'
eden retrain benchmarks/boost/recipes/float32.toml --out out/boost/runs/resnet20/float32 --set 'boost.epochs=3'
eden retrain benchmarks/boost/recipes/float32.toml --out out/boost/runs/resnet20/float32-one --set 'curriculum.chips="one"' --set 'curriculum.target_ber=0.005' --set 'boost.epochs=3' --set 'boost.recalibrate=0'
eden retrain benchmarks/boost/recipes/int8.toml --out out/boost/runs/resnet20-short/hamming --set 'task="benchmarks/boost/tasks.py:resnet20_short"' --set 'memory.storage="int6_sign_magnitude_hamming"' --set 'memory.input_storage="uint6_hamming"' --set 'curriculum.target_ber=0.006' --set 'boost.epochs=4'

# ResNet-32 on CIFAR-10
eden retrain benchmarks/boost/recipes/int8.toml --out out/boost/runs/resnet32/int8 --set 'task="benchmarks/boost/tasks.py:pretrained_resnet32"' --set 'boost.epochs=1'

# LeNet-5 on MNIST
eden retrain benchmarks/boost/recipes/float32.toml --out out/boost/runs/lenet5/float32 --set 'task="benchmarks/boost/tasks.py:lenet5"' --set 'boost.epochs=8' --set 'boost.precision="float32"' --set 'boost.channels_last=false' --set 'curriculum.target_ber=0.005' --set 'boost.learning_rate=0.005'
eden retrain benchmarks/boost/recipes/int8.toml --out out/boost/runs/lenet5/int8 --set 'task="benchmarks/boost/tasks.py:lenet5"' --set 'boost.epochs=8' --set 'boost.precision="float32"' --set 'boost.channels_last=false' --set 'curriculum.target_ber=0.01'
eden retrain benchmarks/boost/recipes/int8.toml --out out/boost/runs/lenet5/int4 --set 'task="benchmarks/boost/tasks.py:lenet5"' --set 'boost.epochs=8' --set 'boost.precision="float32"' --set 'boost.channels_last=false' --set 'curriculum.target_ber=0.01' --set 'memory.storage="int4"' --set 'memory.input_storage="int4"' --set 'memory.quantization="affine"'
eden retrain benchmarks/boost/recipes/int8.toml --out out/boost/runs/lenet5/sign --set 'task="benchmarks/boost/tasks.py:lenet5"' --set 'boost.epochs=8' --set 'boost.precision="float32"' --set 'boost.channels_last=false' --set 'curriculum.target_ber=0.01' --set 'memory.storage="sign"'

# RandBET beside ours
eden retrain benchmarks/boost/recipes/randbet.toml --out out/boost/runs/randbet/randbet
eden retrain benchmarks/boost/recipes/int8.toml --out out/boost/runs/randbet/ours --set 'memory.operands="weights"' --set 'memory.errors={model = "uniform", ber = 0.01}' --set 'boost.epochs=2' --set 'boost.learn_ranges=false' --set 'curriculum.target_ber=0.01'

# NeuralFuse's protocol
eden retrain benchmarks/boost/recipes/int8.toml --out out/boost/runs/neuralfuse/ours --set 'task="benchmarks/boost/tasks.py:ablation_resnet20"' --set 'memory.operands="weights"' --set 'memory.errors={model = "uniform", ber = 0.01}' --set 'boost.epochs=2' --set 'boost.learn_ranges=false' --set 'curriculum.target_ber=0.01'

# Real modules
eden retrain benchmarks/boost/recipes/modules.toml --out out/boost/runs/modules/ddr3-b3 --set 'memory.device="ddr3-b3"' --set 'memory.trcd=6.5' --set 'boost.epochs=3' --set 'curriculum.walk={trcd = 6.5, steps = 8}'
eden retrain benchmarks/boost/recipes/modules.toml --out out/boost/runs/modules/ddr3-p9 --set 'memory.device="ddr3-p9"' --set 'memory.trcd=7.5' --set 'boost.epochs=3' --set 'curriculum.walk={trcd = 7.5, steps = 8}'
eden retrain benchmarks/boost/recipes/modules.toml --out out/boost/runs/modules/ddr3-g35 --set 'memory.device="ddr3-g35"' --set 'memory.trcd=7.25' --set 'boost.epochs=3' --set 'curriculum.walk={trcd = 7.25, steps = 8}'
